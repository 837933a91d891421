"""For all tests. Being here, it also puts its folder on the path: helpers of more than one kind of test lie beside it."""

import signal

# Who starts pytest in the background of a script has SIGINT ignored, and so would every program that a test starts and
# interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
