"""The functions behind the opcodes of tidegate.catalog: function(call, **arguments) -> answer."""
