"""File readers: CSV, Parquet and JSON Lines as columns, NumPy arrays, word2vec; the mapping of columns to fields."""
