"""The formats of files: CSV, Parquet, JSON Lines, NumPy, word2vec; and which column each field is taken from."""
