"""The connection to PostgreSQL, embedded or by URL: connection pool, embedded server, liveness probe, mapping of driver
errors, leader election, notifications, bulk copy, schema migration, clock skew. The queries are in `engine.store`.
"""
