"""For whom and of what a model is right: cold, warm and heavy users, head and tail items, novelty, popularity bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.evaluation.ranking_metrics import Evaluation, rounded_mean
from engine.evaluation.significance import rounded

COLD_QUANTILE, HEAVY_QUANTILE = 0.2, 0.8  # quantiles of the history lengths of those evaluated
HEAD_SHARE = 0.2  # share of the catalogue that counts as head, most users first

Lengths = npt.NDArray[np.int64]


def metrics_by_user_segment(made: Evaluation, histories: sp.csr_matrix) -> dict[str, Any]:
    """Figures of the users with short, middle and long histories; `items` are the shortest and longest in each."""
    lengths = np.diff(histories.indptr)[made.users]
    if not len(lengths):
        return {}
    low, high = np.quantile(lengths, [COLD_QUANTILE, HEAVY_QUANTILE])
    groups = {"cold": lengths <= low, "warm": (lengths > low) & (lengths <= high), "heavy": lengths > max(low, high)}
    return {name: _group(made, lengths, chosen) for name, chosen in groups.items() if chosen.any()}


def _group(made: Evaluation, lengths: Lengths, chosen: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "n_users": int(chosen.sum()),
        "items": [int(lengths[chosen].min()), int(lengths[chosen].max())],
        f"recall@{made.k}": rounded_mean(made.recall[chosen]),
        f"ndcg@{made.k}": rounded_mean(made.ndcg[chosen]),
    }


def recall_by_item_segment(made: Evaluation, histories: sp.csr_matrix, test: sp.csr_matrix) -> dict[str, Any]:
    """recall@k of the test items that are among the most popular fifth, and of the others."""
    counts = np.bincount(histories.indices, minlength=made.n_items)
    head = np.zeros(made.n_items, dtype=bool)
    head[np.argsort(-counts, kind="stable")[: max(1, int(HEAD_SHARE * made.n_items))]] = True
    wanted = test[made.users]
    found = {}
    for name, mask in (("head", head), ("tail", ~head)):
        relevant = np.asarray((wanted > 0) @ mask.astype(np.float64)).ravel()
        hits = (made.hits & mask[made.ranked]).sum(axis=1)
        has = relevant > 0
        found[name] = {
            "n_items": int(mask.sum()),
            "n_users": int(has.sum()),
            f"recall@{made.k}": rounded_mean(hits[has] / relevant[has]),
        }
    return found


def popularity_bias(made: Evaluation, histories: sp.csr_matrix) -> dict[str, Any]:
    """Novelty, -log2 of the share of users who have had what is recommended, in bits; and the popularity bias.

    popularity_bias@k is the mean popularity of a user's list over that of the user's history, averaged over users: 1 is
    what they chose themselves, above 1 pushes what is popular already.
    """
    share = np.bincount(histories.indices, minlength=made.n_items) / max(1, histories.shape[0])
    there = made.ranked >= 0
    n_ranked = np.maximum(there.sum(axis=1), 1)
    surprise = -np.log2(np.maximum(share, 1 / max(2, 2 * histories.shape[0])))
    novelty = (surprise[made.ranked] * there).sum(axis=1) / n_ranked
    recommended = (share[made.ranked] * there).sum(axis=1) / n_ranked
    ours = sp.csr_matrix(histories[made.users])
    had = np.asarray((ours > 0) @ share).ravel() / np.maximum(np.diff(ours.indptr), 1)
    known = had > 0
    return {
        f"novelty@{made.k}": rounded_mean(novelty),
        f"popularity@{made.k}": rounded_mean(recommended),
        "popularity_of_histories": rounded_mean(had[known]),
        f"popularity_bias@{made.k}": rounded_mean(recommended[known] / had[known]) if known.any() else rounded(0.0),
    }
