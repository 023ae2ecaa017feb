"""Commands that learn from events or records and evaluate the models: reindex, train, evaluate, tune, weights,
embedders. Building and publishing an index is in `serve`.
"""
