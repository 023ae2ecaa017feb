"""Keeps the live view of each space up to date: swaps generations, polls for changes, rebuilds and cleans up. The views
themselves are in `live`; searches do not run here.
"""
