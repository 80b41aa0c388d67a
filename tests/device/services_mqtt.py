"""What test_mqtt.py meets: mosquitto, amqtt, a nasty broker, and a control port to steer them."""

from peers import mqtt as serve  # noqa: F401
