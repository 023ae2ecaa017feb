"""The HTTP routes for the people who run the shop: placements, pages, rules and segments, and the best values of a
field for a user.
"""
