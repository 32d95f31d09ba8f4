"""Business rules. A service works inside the caller's unit of work and never commits it."""
