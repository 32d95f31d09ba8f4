"""The parts of the database layer that need no database."""
