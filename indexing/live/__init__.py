"""The state that one request is answered from: an immutable view of a generation and the changes since, and the
functions that derive the next view. The threads that refresh views are in `refresh`.
"""
