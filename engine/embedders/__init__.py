"""Embedders of interactions (users, items, weights), one file each, with their registry, parameters and default sizes.

`factorisation` has the linear algebra that they share, `training` the torch loops, and `feature_embedders` the models
of feature records. Torch is imported only in this package and in `engine.learning.fit_time_estimate`. Which embedder
to take, and with which parameters, is decided in `engine.learning`.
"""
