"""Tables of sharing."""
