"""What both sides say to each other: CBOR, COSE, SenML, messages."""
