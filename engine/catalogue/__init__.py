"""Which items may be shown: the filter language, its evaluation as masks over catalogue columns, the types of
attributes, and the estimated cost of a request.

Storing items is in `engine.store`; caching of filter masks is in `indexing.searchers`.
"""
