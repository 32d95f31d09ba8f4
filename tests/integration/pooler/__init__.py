"""The API behind PgBouncer, and while connections break or servers are killed during requests."""
