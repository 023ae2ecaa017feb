"""The values that cross rooms: ids, vectors, events, interactions, items, users, features, splits; all immutable."""
