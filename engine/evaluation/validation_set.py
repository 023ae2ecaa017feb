"""What trials are scored on: recall@20 and ndcg@20 of a sample of users on a part of the data that no test has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from engine.evaluation import similar_items
from engine.evaluation.ranking_metrics import SpaceScorer, evaluate_ranking
from engine.evaluation.similar_items import NextItemPairs
from engine.latent_space.space import LatentSpace
from engine.values.interactions import Interactions
from engine.values.splits import Split

MAX_SCORES = 2**27  # users times items: what one trial may cost to score
MIN_USERS = 1000  # users scored all the same
K = 20
MAX_SIMILAR_PAIRS = (
    5000  # that similar items are scored on: an entry of a race is scored in little more time than without
)


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Learn from `train`, be scored on `test` by users whom `histories` and `test` hold row for row."""

    train: Interactions
    histories: sp.csr_matrix
    test: sp.csr_matrix
    repeats: bool = False  # whether what a user had may be recommended, and counts

    def similar(self, space: LatentSpace) -> float:
        """recall@20 of the next item among those most like one of the same user's."""
        return similar_items.next_item_recall(space, self._pairs)

    @cached_property
    def _pairs(self) -> NextItemPairs:
        return similar_items.next_item_pairs(self.histories, self.test, most=MAX_SIMILAR_PAIRS)

    def score(self, space: LatentSpace) -> tuple[float, float]:
        """recall@20 and ndcg@20."""
        made = evaluate_ranking(SpaceScorer(space), self.histories, self.test, K, self.repeats)
        return float(made.recall.mean()), float(made.ndcg.mean())

    @property
    def n_users(self) -> int:
        return int(self.test.shape[0])


def validation_set(split: Split, seed: int = 0) -> ValidationSet:
    """Every user with test items, or a random sample where ranking for all of them would take long."""
    users = np.flatnonzero(np.diff(split.test.indptr))
    most = max(MIN_USERS, MAX_SCORES // max(1, split.test.shape[1]))
    if len(users) > most:
        users = np.sort(np.random.default_rng(seed).permutation(users)[:most])
    histories, test = (sp.csr_matrix(matrix[users]) for matrix in (split.train.matrix, split.test))
    return ValidationSet(split.train, histories, test, split.repeats)
