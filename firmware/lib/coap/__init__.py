"""Asyncio CoAP (RFC 7252): `coap.client`, `coap.server`, and the modules that both use."""

__version__ = "0.2.0"
