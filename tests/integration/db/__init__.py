"""The database layer on a real PostgreSQL, over a wire that counts and breaks."""
