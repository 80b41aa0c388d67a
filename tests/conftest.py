"""What holds for all tests."""

import signal

# A job in the background of a shell without job control starts with Ctrl-C ignored, and so would all that the tests
# start to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)
