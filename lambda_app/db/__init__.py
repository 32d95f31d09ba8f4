"""PostgreSQL access: the single-flush connection, the engine, sessions, and migrations."""
