"""Segments: named groups of items, which filters refer to, and of users, by attributes and by what they did. SQL is in
`engine.store.user_facts`; the stored documents are read by `engine.merchandising`.
"""
