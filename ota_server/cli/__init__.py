"""Commands of `tidegate` that run or manage a server, one module a command group.

They work on the server's data folder, on its own machine. A module imports what its commands need and no more: the
command line reads only the module of the command that was typed.
"""
