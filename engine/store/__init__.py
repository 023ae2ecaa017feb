"""Storage in PostgreSQL: one file per subject (items, users, events, models, ...), one function per query. Only this
room and `migrations` contain SQL.
"""
