"""Builds a generation, publishes it, rolls back, runs the whole reindex, and holds the index checks of `nearfield
doctor`. The formats of the files are in `generations`; automatic rebuilds are started by `refresh`."""
