"""Tidegate's server: HTTP API, status page, MQTT worker and an embedded broker."""
