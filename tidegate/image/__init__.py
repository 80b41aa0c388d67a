"""Images: compiled modules packed as ROMFS."""
