"""Boosted searches of 8-bit lists: one pass over the lists that compares boosted scores, in place of a plain search for
many more rows.
"""
