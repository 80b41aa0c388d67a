"""Asyncio CoAP: `coap.client`, `coap.server`, and what both stand on."""
