"""The format of requests and responses: schemas, query parameters, rows of bulk writes, timestamps, cursors, JSON
responses and warnings. `api.request_parsing` turns them into requests of the engine.
"""
