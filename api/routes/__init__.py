"""One file per group of HTTP routes. A route checks the request, calls the engine, and turns the result into a
response.
"""
