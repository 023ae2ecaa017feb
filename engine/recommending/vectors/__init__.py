"""The vectors that a search starts from: of a user, by folding in the history, and of a query for similar items. The
sources in `engine.recommending.sources` and the search routes use them.
"""
