"""The immutable values that cross rooms: ids, vectors, events, interactions, items, users, feature records, and splits.

Reading them from files is in `engine.importing`, and storing them in `engine.store`.
"""
