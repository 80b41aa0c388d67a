"""What test_mqtt_large.py meets: mosquitto, and peers that are not as they should be."""

from peers import mosquitto as serve  # noqa: F401
