"""The validation set that trials are scored on: recall@20 and ndcg@20 of a sample of users.

It is split off the training part, so it shares nothing with the test part.
"""

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

MAX_SCORES = 2**27  # users times items that one trial scores
MIN_USERS = 1000  # scored even above MAX_SCORES
K = 20
MAX_SIMILAR_PAIRS = 5000  # for the recall of similar items; they add little to the time of a trial


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """A model is fitted on `train` and scored on `test`; `histories` and `test` have the same users row by row."""

    train: Interactions
    histories: sp.csr_matrix
    test: sp.csr_matrix
    repeats: bool = False  # whether items of the history may be recommended and count as hits

    def similar_item_recall(self, space: LatentSpace) -> float:
        """recall@20 of a user's next items among the items most similar to one that the user had."""
        return similar_items.next_item_recall(space, self._pairs)

    @cached_property
    def _pairs(self) -> NextItemPairs:
        return similar_items.next_item_pairs(self.histories, self.test, max_pairs=MAX_SIMILAR_PAIRS)

    def score(self, space: LatentSpace) -> tuple[float, float]:
        """recall@20 and ndcg@20."""
        evaluation = evaluate_ranking(SpaceScorer(space), self.histories, self.test, K, self.repeats)
        return float(evaluation.recall.mean()), float(evaluation.ndcg.mean())

    @property
    def n_users(self) -> int:
        return int(self.test.shape[0])


def validation_set(split: Split, seed: int = 0) -> ValidationSet:
    """The validation set of every user with test items, or of a random sample where scoring all would take long."""
    users = np.flatnonzero(np.diff(split.test.indptr))
    most = max(MIN_USERS, MAX_SCORES // max(1, split.test.shape[1]))
    if len(users) > most:
        users = np.sort(np.random.default_rng(seed).permutation(users)[:most])
    histories, test = (sp.csr_matrix(matrix[users]) for matrix in (split.train.matrix, split.test))
    return ValidationSet(split.train, histories, test, split.repeats)
