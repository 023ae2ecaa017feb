"""Scoring: how the numbers by which a request changes scores are computed from the catalogue: the factors and addends
of its boosts, by item.
"""
