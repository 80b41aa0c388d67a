"""What test_mqtt_ends.py meets: mosquitto, amqtt, and a control port to kill and restart them."""

from peers import mqtt as serve  # noqa: F401
