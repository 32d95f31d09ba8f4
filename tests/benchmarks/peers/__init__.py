"""The applications that ours is compared with: the app of most tutorials, and a handler without a framework."""
