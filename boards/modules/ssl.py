# The name that programs know MicroPython's TLS by. Frozen into both firmwares; certificates and keys are given as DER.
from tls import *  # noqa: F403
