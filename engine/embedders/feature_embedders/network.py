"""The torch network of encoders and decoders: layers with ReLU and a linear skip connection from input to output."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from engine.codec.encoder_decoder import LinearCore
from engine.codec.perceptron import Perceptron
from engine.values.vectors import Matrix


class Network(nn.Module):
    """x -> x @ straight + layers(x). The last layer starts at zero, so that an untrained network is linear.

    `engine.codec.perceptron.Perceptron` is the same function in numpy.
    """

    def __init__(self, straight: Matrix, bias: Matrix, hidden: tuple[int, ...]):
        super().__init__()
        n_in, n_out = straight.shape
        sizes = [n_in, *hidden, n_out]
        self.straight = nn.Parameter(torch.from_numpy(np.array(straight, np.float32)))
        linears = [nn.Linear(before, after) for before, after in pairwise(sizes)]
        nn.init.zeros_(linears[-1].weight)
        linears[-1].bias = nn.Parameter(torch.from_numpy(np.array(bias, np.float32)))
        self.layers = nn.ModuleList(linears)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = inputs
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        out: torch.Tensor = self.layers[-1](hidden) + inputs @ self.straight
        return out

    def perceptron(self, n_out: int | None = None) -> Perceptron:
        """The same function in numpy, with its first `n_out` outputs."""
        linears = [layer for layer in self.layers if isinstance(layer, nn.Linear)]
        weights = [_array(layer.weight.T) for layer in linears]
        biases = [_array(layer.bias) for layer in linears]
        weights[-1], biases[-1] = np.ascontiguousarray(weights[-1][:, :n_out]), biases[-1][:n_out]
        return Perceptron(np.ascontiguousarray(_array(self.straight)[:, :n_out]), tuple(weights), tuple(biases))


def encoder_decoder_pair(
    start: LinearCore, hidden: tuple[int, ...], *, unit_variance: bool = False
) -> tuple[Network, Network]:
    """An encoder and a decoder initialised with the principal components `start`.

    `unit_variance` scales the latent dimensions to variance 1, as a standard normal prior expects.
    """
    spread = np.sqrt(np.maximum(start.variances, 1e-6)) if unit_variance else np.ones(start.dim, np.float32)
    into, out = (start.components / spread[:, None]).T, start.components * spread[:, None]
    return Network(into, -start.mean @ into, hidden), Network(out, start.mean, hidden[::-1])


def _array(tensor: torch.Tensor) -> Matrix:
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C")
