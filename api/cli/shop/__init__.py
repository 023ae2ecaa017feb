"""Commands that a shop uses: demo, import of events, items and users, recommend and search, erasure of users."""
