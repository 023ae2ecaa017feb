"""The connection to PostgreSQL, embedded or by URL: pools, liveness, leader election, notifications, bulk copy,
errors.
"""
