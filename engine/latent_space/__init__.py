"""The latent space that a model learns for users and items: item vectors, the fold-in that turns a history into a user
vector, the effect of dislikes, the similarity of items, and the encoder that predicts vectors of new items.

How a space is learned is in `engine.embedders`; the encoder and decoder of feature records are in `engine.codec`.
"""
