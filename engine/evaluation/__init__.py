"""Offline evaluation of embedders: ranking metrics on a held-out split, baselines, segments, significance tests.

Two parameters are also chosen here by such metrics: the weight of dislikes and the half-life of popularity. The choice
of an embedder and of its hyper-parameters is in `engine.learning`; splits are in `engine.values.splits`.
"""
