"""The stacks; they only put components together."""
