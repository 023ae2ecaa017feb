"""Models that learn from interactions, one file each, with their registry and parameters. Torch is imported only in
this package.
"""
