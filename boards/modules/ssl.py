# The usual name of MicroPython's TLS, frozen into both firmwares. Certificates and keys are DER.
from tls import *  # noqa: F403
