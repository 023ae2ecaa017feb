"""Score parts: how a score is made up of the score of the source and what each boost and the objective add to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from engine.recommending.scoring.compile_boosts import effect_on
from engine.recommending.scoring.rotation import rotation_of
from engine.recommending.values.answer import Hit, Part, PartName
from engine.recommending.values.boosts import Boost, boosted
from engine.recommending.values.context import Context

Numbers = npt.NDArray[np.float64]


def score_parts(context: Context, hits: Sequence[Hit], boost: Boost | None) -> Mapping[str, tuple[Part, ...]]:
    """By item id: the parts, in the order in which they act, whose sum is the score.

    A factor adds as much as it changes the score before it.
    """
    made: dict[str, list[Part]] = {hit.item_id: [] for hit in hits}
    in_catalogue = [] if boost is None else [hit for hit in hits if hit.row >= 0]
    if boost is not None and in_catalogue:
        _boosted_parts(made, context, in_catalogue, boost)
    return {hit.item_id: tuple(made[hit.item_id]) or (Part("base", hit.score),) for hit in hits}


def _boosted_parts(made: Mapping[str, list[Part]], context: Context, hits: Sequence[Hit], boost: Boost) -> None:
    view, request = context.view, context.request
    rows, scores = np.array([hit.row for hit in hits]), np.array([hit.score for hit in hits])
    base = boost.without(rows, scores)
    _add(made, hits, "base", None, base)
    factors, scaled = np.ones(len(rows)), base
    for at, each in enumerate(request.boosts):
        factor, addend = effect_on(view, each, context.now_us, rows)
        adds = np.zeros(len(rows)) if addend is None else addend
        if factor is not None:
            factors = factors * factor
            before, scaled = scaled, boosted(base, factors, None)
            adds = adds + (scaled - before)
        _add(made, hits, "boost", at, adds, adds != 0)
    rotation = rotation_of(context)
    by_rotation = np.ones(len(rows)) if rotation is None else rotation.of_rows(rows)
    if request.objective is not None:
        whole = boosted(base, boost.factors[rows] / by_rotation, None)
        _add(made, hits, "objective", None, whole - scaled)
    if rotation is not None:
        before = np.array([sum(part.adds for part in made[hit.item_id]) for hit in hits])
        _add(made, hits, "rotation", None, scores - before, by_rotation != 1)


def _add(
    made: Mapping[str, list[Part]],
    hits: Sequence[Hit],
    name: PartName,
    at: int | None,
    adds: Numbers,
    is_part: npt.NDArray[np.bool_] | None = None,
) -> None:
    for place, (hit, each) in enumerate(zip(hits, adds.tolist(), strict=True)):
        if is_part is None or is_part[place]:
            made[hit.item_id].append(Part(name, each, at))
