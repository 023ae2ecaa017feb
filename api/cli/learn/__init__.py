"""Commands that learn from events or records and judge what was learnt: reindex, train, evaluate, tune, weights,
embedders. Building and publishing an index is in `serve`.
"""
