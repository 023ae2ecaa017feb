from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from api.messages.shelf_schemas import RecommendQuery, ShelfBody
from api.monitoring.metrics import Metrics
from api.served import shelf_writer
from api.served.kept_request import kept_request
from api.served.shelf_writer import ShelfWriter
from engine.errors import StoreUnavailable
from engine.recommending.values.answer import Hit
from engine.store import users
from engine.store.database.connections import Database
from engine.store.shelves import served_shelves
from engine.store.shelves.served_shelves import ServedShelf
from engine.store.spaces import Space
from engine.store.users import User

NOW = time.time_ns() // 1000


def hits(*item_ids: str) -> list[Hit]:
    return [Hit(id_, row, 1.0, "popular", "popular") for row, id_ in enumerate(item_ids)]


class Away:
    """A database that can be away."""

    def __init__(self, database: Database):
        self._database, self.away = database, False

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        if self.away:
            raise StoreUnavailable("PostgreSQL is unreachable")
        with self._database.begin() as conn:
            yield conn


@contextmanager
def writing(database: Any, keep_days: int = 7) -> Iterator[tuple[ShelfWriter, Metrics]]:
    metrics = Metrics()
    writer = ShelfWriter(database, metrics, keep_days)
    try:
        yield writer, metrics
    finally:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(shelf_writer, "CLOSE_S", 60.0)  # on a busy machine the last write takes long
            writer.close()


def stored(database: Database, space: Space) -> list[ServedShelf]:
    with database.connect() as conn:
        return served_shelves.newest(conn, space.key, 100)


def count(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"nearfield_shelves_{name}")


def test_what_waits_is_written_at_the_end(database: Database, space: Space) -> None:
    with writing(database) as (writer, metrics):
        body = ShelfBody(user_id="ann", session_id="s-1", k=2, vector=[1.0])
        writer.keep(space.key, NOW, "r-1", body, hits("tea", "cup"))
        writer.keep(space.key, NOW - 1, "r-2", ShelfBody(user_id="ann", personalization="none"), hits("tea"), ["pot"])
    named, nobody = stored(database, space)
    assert named == ServedShelf(NOW, "r-1", "ann", "s-1", None, '{"k": 2}', ["tea", "cup"])
    assert (nobody.user_id, nobody.session_id) == (None, None)
    assert orjson.loads(nobody.request) == {"personalization": "none", "exclude_items": ["pot"]}
    assert (count(metrics, "written_total"), count(metrics, "dropped_total"), count(metrics, "waiting")) == (2, 0, 0)


def test_a_shelf_is_written_soon_and_counts_as_shown_before(database: Database, space: Space) -> None:
    with writing(database) as (writer, _):
        writer.keep(space.key, NOW, "r-1", ShelfBody(user_id="ann", session_id="s-1"), hits("tea"))
        [shown] = writer.waiting(space.key, "ann") or [None]
        assert shown is None or (shown.served_us, shown.session_id, shown.item_ids) == (NOW, "s-1", ["tea"])
        assert writer.waiting(space.key, "bob") == writer.waiting(-1, "ann") == []
        until = time.monotonic() + 60
        while writer.waiting(space.key, "ann") and time.monotonic() < until:
            time.sleep(0.02)
        assert len(stored(database, space)) == 1


def test_shelves_wait_while_postgresql_is_away_and_those_beyond_the_bound_are_dropped(
    database: Database, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf_writer, "MAX_WAITING", 3)
    away = Away(database)
    away.away = True
    with writing(away) as (writer, metrics):
        for n in range(5):
            writer.keep(space.key, NOW + n, f"r-{n}", ShelfBody(user_id="ann"), hits(f"item-{n}"))
            time.sleep(0.15)  # some are in the queue of the writer, some in that of the requests
        assert [shelf.item_ids for shelf in writer.waiting(space.key, "ann")] == [["item-0"], ["item-1"], ["item-2"]]
        assert count(metrics, "dropped_total") == 2
        away.away = False
    assert [shelf.recommendation_id for shelf in stored(database, space)] == ["r-2", "r-1", "r-0"]
    assert count(metrics, "written_total") == 3


def test_requests_too_long_to_wait_are_dropped(
    database: Database, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf_writer, "MAX_WAITING_CHARACTERS", 40)
    with writing(database) as (writer, metrics):
        writer.keep(space.key, NOW, "r-1", ShelfBody(exclude_items=["a" * 40]), hits("tea"))
        writer.keep(space.key, NOW, "r-2", ShelfBody(k=3), hits("tea"))
    assert [shelf.recommendation_id for shelf in stored(database, space)] == ["r-2"]
    assert count(metrics, "dropped_total") == 1


def test_a_shelf_that_postgresql_refuses_takes_no_other_with_it(database: Database, space: Space) -> None:
    with writing(database) as (writer, metrics):
        for n, name in enumerate(["a", "b\x00", "c"]):
            writer.keep(space.key, NOW + n, f"r-{n}", ShelfBody(user_id=name), hits("tea"))
    assert [shelf.recommendation_id for shelf in stored(database, space)] == ["r-2", "r-0"]
    assert (count(metrics, "written_total"), count(metrics, "dropped_total")) == (2, 1)


def test_a_waiting_shelf_of_a_user_erased_meanwhile_is_not_stored(database: Database, space: Space) -> None:
    with database.begin() as conn:
        users.upsert(conn, space.key, [User("ann")])
    with writing(database) as (writer, _):
        writer.keep(space.key, NOW, "r-1", ShelfBody(user_id="ann"), hits("tea"))
        with database.begin() as conn:
            users.delete(conn, space.key, "ann")
    assert stored(database, space) == []


def test_shelves_of_days_without_partitions_and_of_two_spaces_are_written(database: Database, space: Space) -> None:
    before = NOW - 3 * 86_400_000_000
    with writing(database) as (writer, _):
        writer.keep(-1, NOW, "r-0", ShelfBody(), hits("tea"))  # of a space that was deleted
        for n, at in enumerate([before, NOW], 1):
            writer.keep(space.key, at, f"r-{n}", ShelfBody(), hits("tea"))
    assert [shelf.recommendation_id for shelf in stored(database, space)] == ["r-2", "r-1"]
    with database.begin() as conn:
        day = datetime.fromtimestamp(before / 1e6, UTC).date()
        assert f"served_shelves_{day:%Y%m%d}" in served_shelves.drop_partitions(conn, day + timedelta(days=1))


def test_nothing_is_kept_when_it_is_off_or_names_other_users(database: Database, space: Space) -> None:
    with writing(database, keep_days=0) as (writer, _):
        writer.keep(space.key, NOW, "r-1", ShelfBody(), hits("tea"))
    with writing(database) as (writer, _):
        writer.keep(space.key, NOW, "r-2", ShelfBody(strategy="for_these_people", user_ids=["bob"]), hits("tea"))
    assert stored(database, space) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"k": 3, "exclude": {"purchased": "30d", "seen": None}, "filter": {"price": {"lt": 3}}},
        {"exclude": ["disliked"], "fallback": ["popular"], "rotation": "12h", "seed": 5, "explore": 0.25},
        {"exclude": {"impressed": "1.5h"}, "context": {"store": "berlin-1"}, "caps": {"brand": 2}},
        {"boost": [{"field": "price", "curve": [[0, 1], [10, 2]], "as": "add"}, {"filter": {"a": 1}, "factor": 2}]},
        {"group_by": {"field": "parent", "choose": {"field": "stock", "order": "asc"}}, "exclude": "none"},
        {"pins": [{"position": 1, "item_id": "tea"}], "history": [{"item_id": "tea", "kind": "cart"}], "fill": "new"},
        {"history": [{"item_id": "tea", "occurred_at": "2026-03-01T10:00:00Z"}], "placement": "home"},
    ],
)
def test_a_kept_request_asks_the_same_again(asked: dict[str, Any]) -> None:
    body = ShelfBody.model_validate(asked)
    again = ShelfBody.model_validate_json(kept_request(body, ()))
    assert again == body
    assert again.model_fields_set == body.model_fields_set


def test_a_kept_query_is_a_body() -> None:
    query = RecommendQuery.model_validate(
        {
            "user_id": "ann",
            "filter": '{"price": {"lt": 3}}',
            "boost": '[{"filter": {"a": 1}, "factor": 2}]',
            "exclude": '{"seen": "2d"}',
            "fallback": ['["new"]'],
            "explain": 3,
            "fields": ["title"],
        }
    )
    again = ShelfBody.model_validate_json(kept_request(query, ["cup"]))
    assert (again.filter, again.fallback, again.exclude_items) == ({"price": {"lt": 3}}, ["new"], ["cup"])
    assert (again.exclude, again.boost) == (query.exclude, query.boost)
    assert again.user_id is None
