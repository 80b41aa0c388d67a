"""What test_mqtt_fuzz.py meets: a broker that talks nonsense."""

from peers import nasty_mqtt as serve  # noqa: F401
