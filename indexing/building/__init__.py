"""Builds a generation, publishes it, rolls back, and runs the whole reindex; the checks of `nearfield doctor`."""
