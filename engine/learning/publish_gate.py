"""The publish gate: a model that recommends worse than popularity is stored, but not served unless forced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.evaluation.evaluate_embedder import POPULARITY_OF_ALL_TIMES


def beats_popularity(evaluation: Mapping[str, Any]) -> bool:
    """Whether recall is at least that of popularity of all times; True if there was nothing to evaluate on."""
    if POPULARITY_OF_ALL_TIMES not in evaluation:
        return True
    return bool(evaluation["recall@20"] >= evaluation[POPULARITY_OF_ALL_TIMES]["recall@20"])
