"""What users did with items, as numbers per item: popularity, trends, items bought together, the interval after which
an item is bought again, and counts of events.

All of it is computed from events when a generation is built. Trends, counts and popularity then follow new events.
"""
