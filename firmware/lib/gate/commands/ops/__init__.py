"""The functions behind the opcodes of gate.commands.catalog: function(call, **arguments) ->
answer.
"""
