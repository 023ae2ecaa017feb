"""Filters that depend on the request: on its seed items, its context and its time. They become plain filters before
they are parsed.
"""
