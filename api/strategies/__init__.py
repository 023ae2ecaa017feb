"""The strategies of requests for shelves: their names in HTTP, what they need of a request, and their fallbacks."""
