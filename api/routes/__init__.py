"""The HTTP routes, one file per group. A route parses the request, calls the engine and turns the result into a
response.
"""
