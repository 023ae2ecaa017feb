"""Training commands and the search for an embedder: train on events or records, auto-select, tune, time budgets.

`trials` has the values that all searches share; `auto_select` races a few cheap models, `tune` searches with Optuna,
`time_budget` decides which of the two fits into a given time. Metrics are in `engine.evaluation`.
"""
