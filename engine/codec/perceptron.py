"""Perceptron: a small network with a linear skip connection, as matrix products in numpy, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.values.vectors import Matrix

Arrays = Mapping[str, npt.NDArray]


@dataclass(frozen=True, eq=False)
class Perceptron:
    """x -> x @ straight + layers(x), with ReLU between the layers.

    The skip connection is initialised with the principal components, so that training starts from the PCA solution.
    """

    straight: Matrix  # (n_in, n_out)
    weights: tuple[Matrix, ...]  # each (n_before, n_after)
    biases: tuple[Matrix, ...]  # each (n_after,)

    def __call__(self, inputs: Matrix) -> Matrix:
        hidden = inputs
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = hidden @ weight
            hidden += bias
            np.maximum(hidden, 0, out=hidden)
        out = hidden @ self.weights[-1]
        out += self.biases[-1]
        out += inputs @ self.straight
        return np.asarray(out, dtype=np.float32)

    def arrays(self, prefix: str) -> dict[str, npt.NDArray]:
        arrays: dict[str, npt.NDArray] = {f"{prefix}.straight": self.straight}
        for at, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays |= {f"{prefix}.weight.{at}": weight, f"{prefix}.bias.{at}": bias}
        return arrays


def restore(arrays: Arrays, prefix: str) -> Perceptron:
    """Restore a perceptron from its `arrays(prefix)`."""
    n_layers = sum(name.startswith(f"{prefix}.weight.") for name in arrays)
    return Perceptron(
        arrays[f"{prefix}.straight"],
        tuple(arrays[f"{prefix}.weight.{at}"] for at in range(n_layers)),
        tuple(arrays[f"{prefix}.bias.{at}"] for at in range(n_layers)),
    )
