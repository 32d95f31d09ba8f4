"""The parts of the stacks; each builds one thing and is tested for the property it is there for."""
