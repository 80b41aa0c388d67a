"""Where the names are that an application imports from `gate`. Not in the loader's copy of gate,
which runs no application.
"""

NAMES = (  # module:names
    "agent:Agent clock:Uptime telemetry.e2e_frame:Frame "
    "telemetry.streams:Stream,Measure,calibrator,MEAN,MIN,MAX,DEV,RATE,OVER "
    "commands.call:Call "
    "commands.application_opcodes:opcode,READ,OPERATE,DANGEROUS "
    "application:measurement,command,setting,data_component,health,ready,start"
)


def home(name):
    """The module of this name, below gate, or None."""
    for entry in NAMES.split():
        module, _, names = entry.partition(":")
        if name in names.split(","):
            return module
    return None
