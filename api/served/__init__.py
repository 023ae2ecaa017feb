"""The shelves that a server has served: kept for dry runs, and read back as what a user was shown."""
