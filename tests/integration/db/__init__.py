"""The database layer with a real PostgreSQL, through a proxy that counts round trips and breaks connections."""
