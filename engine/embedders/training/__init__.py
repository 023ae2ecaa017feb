"""Training loops over interactions: gradient descent with checkpoints, data-parallel training, devices, memory."""
