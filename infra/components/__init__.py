"""The constructs that the stacks are built from; tests/infra checks the security property of each."""
