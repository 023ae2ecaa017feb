"""What one request is answered from: a generation and what changed since, as one immutable view; how a view follows
changes.
"""
