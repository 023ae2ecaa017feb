"""Embedders of feature records (dense matrices), one file each: pca and the autoencoders, with their training loop.

Each returns a numpy encoder and decoder of `engine.codec`. Embedders of interactions are in `engine.embedders`.
"""
