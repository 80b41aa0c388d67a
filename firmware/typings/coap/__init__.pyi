"""CoAP client and server; docs/coap.md of Tidegate."""
