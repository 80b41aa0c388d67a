"""The functions behind the built-in opcodes: function(call, **arguments) -> answer."""
