"""FastAPI dependencies of the route functions."""
