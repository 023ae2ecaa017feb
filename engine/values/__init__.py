"""The immutable values that cross rooms: ids, vectors, events, interactions, items, feature records, splits, durations.

Reading them from files is in `engine.importing`, and storing them in `engine.store`.
"""
