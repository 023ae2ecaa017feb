"""Commands that a shop uses: demo, import of events, items and users, recommend, search, erasure of users."""
