"""`tidegate link`: boards without a network reach broker and server through a serial port (docs/usb-uplink.md)."""
