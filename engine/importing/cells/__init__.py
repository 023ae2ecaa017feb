"""Parsing of cells: ids, numbers, times, categories, feature columns, and attributes as values of their type."""
