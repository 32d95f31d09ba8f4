"""FastAPI wiring: what a route function asks for."""
