"""Building blocks that several embedders of interactions share: linear algebra on the interaction matrix.

Here are the truncated SVD and its cache, the solvers of alternating least squares on CPU and GPU, the softmax loss on
the unit sphere, the regression that turns learnt users into a fold-in, and the lift of recently popular items. The
embedders themselves are in `engine.embedders`; training loops are in `engine.embedders.training`.
"""
