"""Sources made of what users did: the user who asks, some users together, or all users."""
