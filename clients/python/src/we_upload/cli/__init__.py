"""The command `we-upload`."""
