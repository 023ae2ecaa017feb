"""Request coalescing: concurrent reads of user histories share one SQL statement, and concurrent event writes share one
transaction (group commit). `user_profile` combines a session with the stored history.
"""
