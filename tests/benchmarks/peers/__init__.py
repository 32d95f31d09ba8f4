"""What we are measured beside: the app that most tutorials write, and a handler without any framework."""
