"""How a shelf is made: candidates, exclusions, boosts, popularity, filling and explanation, for one request or for
many.
"""
