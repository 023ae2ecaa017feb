"""What a shop decides about its shelves, and the shelves that were served. One function per query."""
