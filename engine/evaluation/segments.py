"""Metrics by segment: cold, warm and heavy users, head and tail items; novelty and popularity bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.evaluation.ranking_metrics import Evaluation, rounded_mean
from engine.evaluation.significance import rounded

COLD_QUANTILE, HEAVY_QUANTILE = 0.2, 0.8  # quantiles of the history lengths of the evaluated users
HEAD_SHARE = 0.2  # share of the catalogue that is head: the items with most users

Lengths = npt.NDArray[np.int64]


def metrics_by_user_segment(evaluation: Evaluation, histories: sp.csr_matrix) -> dict[str, Any]:
    """Metrics of users with short, middle and long histories; `items` are the shortest and longest length in each."""
    lengths = np.diff(histories.indptr)[evaluation.users]
    if not len(lengths):
        return {}
    low, high = np.quantile(lengths, [COLD_QUANTILE, HEAVY_QUANTILE])
    groups = {"cold": lengths <= low, "warm": (lengths > low) & (lengths <= high), "heavy": lengths > max(low, high)}
    return {name: _group(evaluation, lengths, in_group) for name, in_group in groups.items() if in_group.any()}


def _group(evaluation: Evaluation, lengths: Lengths, in_group: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {
        "n_users": int(in_group.sum()),
        "items": [int(lengths[in_group].min()), int(lengths[in_group].max())],
        f"recall@{evaluation.k}": rounded_mean(evaluation.recall[in_group]),
        f"ndcg@{evaluation.k}": rounded_mean(evaluation.ndcg[in_group]),
    }


def recall_by_item_segment(evaluation: Evaluation, histories: sp.csr_matrix, test: sp.csr_matrix) -> dict[str, Any]:
    """recall@k of head items (the most popular fifth) and of tail items."""
    counts = np.bincount(histories.indices, minlength=evaluation.n_items)
    head = np.zeros(evaluation.n_items, dtype=bool)
    head[np.argsort(-counts, kind="stable")[: max(1, int(HEAD_SHARE * evaluation.n_items))]] = True
    wanted = test[evaluation.users]
    by_segment = {}
    for name, mask in (("head", head), ("tail", ~head)):
        relevant = np.asarray((wanted > 0) @ mask.astype(np.float64)).ravel()
        hits = (evaluation.hits & mask[evaluation.ranked]).sum(axis=1)
        has = relevant > 0
        by_segment[name] = {
            "n_items": int(mask.sum()),
            "n_users": int(has.sum()),
            f"recall@{evaluation.k}": rounded_mean(hits[has] / relevant[has]),
        }
    return by_segment


def popularity_bias(evaluation: Evaluation, histories: sp.csr_matrix) -> dict[str, Any]:
    """Novelty and popularity bias of the recommended lists, averaged over users.

    novelty@k is -log2 of the share of users who had an item, in bits. popularity_bias@k is the mean popularity of a
    user's list over that of the user's history: at 1 the list is as popular as the user's own choices, above 1 more.
    """
    share = np.bincount(histories.indices, minlength=evaluation.n_items) / max(1, histories.shape[0])
    is_item = evaluation.ranked >= 0
    n_ranked = np.maximum(is_item.sum(axis=1), 1)
    information = -np.log2(np.maximum(share, 1 / max(2, 2 * histories.shape[0])))
    novelty = (information[evaluation.ranked] * is_item).sum(axis=1) / n_ranked
    recommended = (share[evaluation.ranked] * is_item).sum(axis=1) / n_ranked
    own_histories = sp.csr_matrix(histories[evaluation.users])
    had = np.asarray((own_histories > 0) @ share).ravel() / np.maximum(np.diff(own_histories.indptr), 1)
    has_history = had > 0
    return {
        f"novelty@{evaluation.k}": rounded_mean(novelty),
        f"popularity@{evaluation.k}": rounded_mean(recommended),
        "popularity_of_histories": rounded_mean(had[has_history]),
        f"popularity_bias@{evaluation.k}": rounded_mean(recommended[has_history] / had[has_history])
        if has_history.any()
        else rounded(0.0),
    }
