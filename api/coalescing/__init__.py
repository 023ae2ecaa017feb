"""Request coalescing: histories that are asked for at the same time are read by one statement, and events that are
posted at the same time are written in one transaction.
"""
