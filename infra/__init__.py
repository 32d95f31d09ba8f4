"""What runs the application: on a laptop (`infra.local`) and in AWS."""
