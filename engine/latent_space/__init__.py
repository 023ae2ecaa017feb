"""The latent space that a model is: item vectors, fold-in of a history, what dislikes take away, vectors of items
nobody has had.
"""
