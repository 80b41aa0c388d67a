"""What runs beside the HTTP API: taking in what devices say, and sending what they should hear."""
