"""PostgreSQL: the connection that speaks in single flushes, the engine over it, sessions and migrations."""
