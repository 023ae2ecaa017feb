"""Feature records of catalogue items: a new item gets a vector near items with similar records, in any space."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from engine.embedders.registry import make
from engine.importing import Layout, import_features
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request
from engine.store import events, features, items, models, spaces
from engine.values.events import Event
from indexing.building.build import build_generation
from indexing.building.publish import publish
from indexing.building.reindex import reindex
from indexing.building.reindex_features import train_feature_version
from indexing.refresh.live_space import LiveSpace
from tests.engine.store.worlds import until_one_waits

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop(database, space, tmp_path):
    """Odd users had odd items, even users even ones; odd items are warm, even ones cold, and nothing else tells."""
    with database.begin() as conn:
        rows = [
            Event(f"{side}-user-{user}", f"{side}-{(user * 3 + step * 7) % 20}", "view", BEGIN + timedelta(hours=user))
            for side in ("odd", "even")
            for user in range(30)
            for step in range(8)
        ]
        events.append(conn, space.key, rows)
    draw = np.random.default_rng(1)
    lines = [f"odd-{n},{draw.normal(1e6 + 30, 1)},x" for n in range(20)]
    lines += [f"even-{n},{draw.normal(1e6 - 30, 1)},x" for n in range(20)]
    load(database, space, tmp_path, *lines)
    reindex(database, space, make("spectral", {"dim": 2}), tmp_path, force=True)
    return LiveSpace(database, tmp_path, space.name)


def load(database, space, folder, *lines):
    (folder / "measured.csv").write_text("item,heat,kind\n" + "\n".join(lines) + "\n")
    import_features(database, space.name, folder / "measured.csv", Layout("item", categorical=("kind",)))


def near(live, item_id, k=10):
    view, request = live.refresh(), Request(source="search", item_ids=[item_id], k=k)
    [answer] = recommend(view, [request], weighting=view.space.weighting, now_us=0)
    return {hit.item_id.split("-")[0] for hit in answer.hits}


def test_an_item_that_nobody_has_had_is_near_those_it_measures_like_at_once_and_after_a_build(
    database, space, tmp_path, shop
):
    load(database, space, tmp_path, "warm,1000031,x", "cold,999972,x")
    assert (near(shop, "warm"), near(shop, "cold")) == ({"odd"}, {"even"})
    publish(database, space, build_generation(database, space, 1, tmp_path), tmp_path)
    built = LiveSpace(database, tmp_path, space.name)
    assert built.current().generation.items.row("warm") is not None
    assert (near(built, "warm"), near(built, "cold")) == ({"odd"}, {"even"})


def test_a_learnt_item_keeps_what_was_learnt_and_one_without_a_record_has_no_vector(database, space, tmp_path, shop):
    before = shop.current().vector(shop.current().items.row("odd-3"))
    load(database, space, tmp_path, "odd-3,999970,x")
    view = shop.refresh()
    assert np.array_equal(view.vector(view.items.row("odd-3")), before)
    with database.begin() as conn:
        items.upsert(conn, space.key, [items.Item("unmeasured")])
    view = shop.refresh()
    assert view.vector(view.items.row("unmeasured")) is None


def test_records_written_while_a_model_of_records_is_made_are_encoded_by_the_build(database, space, tmp_path):
    draw = np.random.default_rng(2)
    load(database, space, tmp_path, *(f"r{n},{draw.normal(0, 1)},{'xy'[n % 2]}" for n in range(40)))
    with database.begin() as conn:  # as if the import took place before the training, which took a while
        conn.exec_driver_sql(
            "UPDATE item_features SET recorded_at = now() - interval '1 day' WHERE space_key = %s", (space.key,)
        )
    version = train_feature_version(database, space, "pca", {"dim": 2}).record.version
    load(database, space, tmp_path, "late,0.5,x", "r3,9,y")
    with database.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE models SET created_at = now() + interval '1 hour' WHERE space_key = %s", (space.key,)
        )
        codec = models.load_codec(conn, space.key, version)
    publish(database, space, build_generation(database, space, version, tmp_path), tmp_path)
    generation = LiveSpace(database, tmp_path, space.name).current().generation
    for item_id, record in (("late", [0.5, 0]), ("r3", [9, 1])):
        vector = generation.vectors[generation.items.row(item_id)]
        assert vector == pytest.approx(codec.encode(np.array([record], np.float64))[0], abs=1e-5)


def write(conn, space, **records):
    features.write(conn, space.key, list(records), np.array(list(records.values()), np.float64), np.full(1, -1))


def learnt_or_built(database, space, folder, version, item_id, record):
    """Whether a build of the version contains the vector of a record."""
    name = build_generation(database, space, version, folder)
    publish(database, space, name, folder)
    generation = LiveSpace(database, folder, space.name).current().generation
    with database.connect() as conn:
        codec = models.load_codec(conn, space.key, version)
    row = generation.items.row(item_id)
    assert row is not None
    expected = codec.encode(np.array([record], np.float64))[0]
    return generation.vectors[row] == pytest.approx(expected, abs=1e-5)


def test_an_import_that_began_before_the_records_were_read_and_wrote_after_is_encoded_by_the_build(
    database, space, tmp_path
):
    load(database, space, tmp_path, *(f"r{n},{n},{'xy'[n % 2]}" for n in range(40)))
    with database.begin() as late:
        late.exec_driver_sql("SELECT now()")  # from here on the time of its transaction
        version = train_feature_version(database, space, "pca", {"dim": 2}).record.version
        spaces.lock(late, space.key)
        write(late, space, r3=[90, 1])
    assert learnt_or_built(database, space, tmp_path, version, "r3", [90, 1])


def test_an_import_that_is_being_written_when_the_records_are_to_be_read_is_learnt_from(database, space, tmp_path):
    load(database, space, tmp_path, *(f"r{n},{n},{'xy'[n % 2]}" for n in range(40)))
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as late:
            spaces.lock(late, space.key)
            write(late, space, r3=[90, 1])
            training = pool.submit(train_feature_version, database, space, "pca", {"dim": 2})
            until_one_waits(database)
        version = training.result(60).record.version
    assert learnt_or_built(database, space, tmp_path, version, "r3", [90, 1])
