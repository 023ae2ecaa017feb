"""The files of a generation: writing, locking, verifying, opening and memory-mapping them. A generation is immutable.
What fills it is decided in `building`; what changes after the build is in `live`.
"""
