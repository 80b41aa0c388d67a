"""What test_mqtt_nasty.py meets: a broker that behaves as the client identifier says."""

from peers import nasty_mqtt as serve  # noqa: F401
