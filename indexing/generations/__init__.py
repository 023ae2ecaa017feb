"""The files of a generation: written, locked, verified, opened and memory-mapped. A generation is immutable."""
