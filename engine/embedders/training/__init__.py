"""Training of the embedders that learn from interactions by gradient descent.

Here are the mini-batch loop with its checkpoints, data-parallel training over several processes, the choice of the
torch device, and the measurement of peak memory. Losses are in the files of the embedders.
"""
