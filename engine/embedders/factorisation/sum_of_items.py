"""The latent space of an item table in which a user is the weighted sum of the history's items, compared by cosine."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import LatentSpace
from engine.values.interactions import Interactions
from engine.values.vectors import Vectors


def sum_of_items_space(table: torch.Tensor, interactions: Interactions) -> LatentSpace:
    """The space of `table` (n_items, dim), whose rows may have any length; item vectors have unit length."""
    items = normalize(table.detach(), dim=1).cpu().numpy()
    fold_in = LinearFoldIn(items, np.ones(len(items), np.float32), np.ones(items.shape[1], np.float32))
    users = Vectors(interactions.users, fold_in.vectors(interactions.matrix))
    return LatentSpace(Vectors(interactions.items, items), users, "cosine", fold_in)
