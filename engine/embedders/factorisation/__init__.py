"""Parts of the models of interactions: the truncated SVD, conjugate gradients, the softmax on the sphere, trends."""
