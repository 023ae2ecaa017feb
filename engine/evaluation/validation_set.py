"""What trials are scored on: recall@20 and ndcg@20 of a sample of users on a part of the data that no test has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from engine.evaluation import similar_items
from engine.evaluation.ranking_metrics import SpaceScorer, evaluate
from engine.evaluation.similar_items import Pairs
from engine.latent_space.space import LatentSpace
from engine.values.interactions import Interactions
from engine.values.splits import Split

SCORES = 2**27  # users times items: what one trial may cost to score
FEWEST = 1000  # users scored all the same
K = 20
PAIRS = 5000  # that similar items are scored on: an entry of a race is scored in little more time than without


@dataclass(frozen=True, eq=False)
class Validation:
    """Learn from `train`, be scored on `test` by users whom `histories` and `test` hold row for row."""

    train: Interactions
    histories: sp.csr_matrix
    test: sp.csr_matrix
    repeats: bool = False  # whether what a user had may be recommended, and counts

    def similar(self, space: LatentSpace) -> float:
        """recall@20 of the next item among those most like one of the same user's."""
        return similar_items.recall(space, self._pairs)

    @cached_property
    def _pairs(self) -> Pairs:
        return similar_items.pairs(self.histories, self.test, most=PAIRS)

    def score(self, space: LatentSpace) -> tuple[float, float]:
        """recall@20 and ndcg@20."""
        made = evaluate(SpaceScorer(space), self.histories, self.test, K, self.repeats)
        return float(made.recall.mean()), float(made.ndcg.mean())

    @property
    def n_users(self) -> int:
        return int(self.test.shape[0])


def validation(split: Split, seed: int = 0) -> Validation:
    """Every user with test items, or a random sample where ranking for all of them would take long."""
    users = np.flatnonzero(np.diff(split.test.indptr))
    most = max(FEWEST, SCORES // max(1, split.test.shape[1]))
    if len(users) > most:
        users = np.sort(np.random.default_rng(seed).permutation(users)[:most])
    histories, test = (sp.csr_matrix(matrix[users]) for matrix in (split.train.matrix, split.test))
    return Validation(split.train, histories, test, split.repeats)
