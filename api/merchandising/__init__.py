"""What stored documents mean for requests: a request gets the parameters of its placement, a page becomes shelves, and
a dry run repeats served requests with a changed document.
"""
