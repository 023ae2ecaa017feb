"""The one way to fit an embedder of interactions: memory check, pass reports, data-parallel training.

Which embedder is fitted, and what the result is worth, is decided in `engine.learning` and `engine.evaluation`.
"""
