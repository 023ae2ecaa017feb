"""What a cell means: ids, numbers, times, categories, and the type of the attribute that it belongs to."""
