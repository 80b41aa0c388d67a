"""The server's side of MQTT: what comes up, what goes down, brokers' users."""
