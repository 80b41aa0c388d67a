"""The HTTP API: one blueprint a resource, laid out as the addresses are."""
