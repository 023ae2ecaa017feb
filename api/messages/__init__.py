"""What requests and responses look like: schemas, query parameters, rows of bulk writes, cursors, JSON of answers,
warnings.
"""
