"""From events with dislikes to recommendations: the model and its generation carry the learnt weight."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from engine.embedders.registry import make
from engine.latent_space.dislikes import FoldInWithDislikes
from engine.recommending.all_users import recommend_to_all
from engine.recommending.exclude_parameter import WORDS
from engine.recommending.exclusions import related_items
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request
from engine.store import events, models
from engine.values.events import Event, History
from indexing.building.reindex import reindex
from indexing.refresh.live_space import LiveSpace
from tests.engine.latent_space.test_dislikes import of_styles


def test_a_dislike_in_a_session_lowers_similar_items_once_the_model_has_learnt_dislikes(database, space, tmp_path):
    made = of_styles()
    rows = [
        Event(made.user_ids[user], made.item_ids[item], made.kinds[kind], datetime.fromtimestamp(float(at), UTC))
        for user, item, kind, at in zip(made.user_rows, made.item_rows, made.kind_codes, made.occurred_us, strict=True)
    ]
    with database.begin() as conn:
        events.append(conn, space.key, rows)
    done = reindex(database, space, make("spectral", {"dim": 16}), tmp_path, force=True)
    weight = done.record.evaluation["dislikes"]["weight"]
    assert weight > 0
    with database.connect() as conn:
        stored = models.load_space(conn, space.key, done.record.version).fold_in
        columns = events.read_columns(conn, space.key)
        past = events.history(conn, space.key, "u0", 100)
    view = LiveSpace(database, tmp_path, space.name).current()
    for fold_in in (stored, view.fold_in):
        assert isinstance(fold_in, FoldInWithDislikes)
        assert fold_in.weight == np.float32(weight)

    now_us = 10**9
    asked = {"weighting": space.weighting, "now_us": now_us}

    def shown(theme, n, *kinds):  # to a visitor who looked at one item of each style, and then says more
        items = (f"{theme}-0-{n}", f"{theme}-1-{n}", f"{theme}-1-{n + 1}")[: len(kinds)]
        history = History(items, kinds, np.ones(len(kinds), np.float32), np.full(len(kinds), now_us))
        [answer] = recommend(view, [Request(k=10, history=history, exclude=WORDS["seen"])], **asked)
        return [hit.item_id for hit in answer.hits]

    def of_the_other_style(*kinds):
        found = [(theme, shown(theme, n, *kinds)) for theme in range(5) for n in range(11)]
        assert {len(shelf) for _, shelf in found} == {10}
        return sum(id_.startswith(f"{theme}-1") for theme, shelf in found for id_ in shelf)

    assert of_the_other_style("view", "view", "dislike") < 0.5 * of_the_other_style("view", "view")
    request = Request(k=10, exclude=WORDS["none"])
    batch = dict(recommend_to_all(view, columns, ["u0"], request, **asked))["u0"]
    out = related_items(past, space.weighting, WORDS["none"])
    [alone] = recommend(view, [replace(request, history=past)], **asked)
    assert [hit.item_id for hit in batch.hits] == [hit.item_id for hit in alone.hits]
    assert set(past.item_ids) & {hit.item_id for hit in alone.hits}, "what was looked at may come again"
    assert not out & {hit.item_id for hit in alone.hits}
