"""From a trained model to served views: build, verify, publish, follow the catalogue, rebuild after damage."""

import contextlib
import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.catalogue import predicate
from engine.embedders.registry import make
from engine.errors import (
    BelowFloor,
    Conflict,
    CorruptGeneration,
    DeadlineExceeded,
    NotEnoughData,
    NotFound,
    StoreUnavailable,
)
from engine.store import events, generations, items, models, spaces, users
from engine.store.change_feeds import item_feed, snapshots
from engine.store.change_feeds.snapshots import EPOCH, Snapshot
from engine.values.events import Event
from engine.values.interactions import from_events
from engine.values.items import Item, ItemVector
from indexing.building.build import build_generation, rebuild_generation
from indexing.building.publish import publish, rollback
from indexing.generations.generation import open_generation
from indexing.generations.manifest import MANIFEST, verify
from indexing.live.nearest_by_distance import nearest_by_distance
from indexing.refresh.poller import Poller
from tests.engine.worlds import missing
from tests.indexing.shop import ITEMS, NOW, NOW_US, Shop


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


class TestRecommend:
    def test_users_are_shown_the_one_item_of_their_kind_that_they_have_not_had(self, shop):
        shop.publish()
        view = shop.live().current()
        for user in range(8):
            seen = set(shop.history(f"u{user}").item_ids)
            assert shop.shown(view, f"u{user}", k=1, exclude=seen) == [f"i{missing(user, ITEMS)}"]

    def test_a_live_history_folds_in_to_the_stored_user_vector(self, shop):
        shop.publish()
        view = shop.live().current()
        for user_id in ("u0", "u1", "u39"):
            stored = view.users.matrix[view.users.ids.row(user_id)]
            by_vector = shop.answer_to(view, k=5, vector=stored)
            by_history = shop.answer_to(view, k=5, history=shop.history(user_id))
            assert {hit.reason for hit in by_vector.hits} == {"vector"}
            assert {hit.reason for hit in by_history.hits} == {"history"}
            assert [hit.score for hit in by_vector.hits] == pytest.approx(
                [hit.score for hit in by_history.hits], abs=1e-4
            )

    def test_a_new_user_with_one_event_is_answered_by_taste_and_nobody_by_popularity(self, shop):
        shop.publish()
        view = shop.live().current()
        shop.change(events.append, [Event("newcomer", "i3", "view", NOW)])
        assert {int(id_[1:]) % 2 for id_ in shop.shown(view, "newcomer", k=10)} == {1}
        nobody = shop.answer_to(view, k=3)
        assert {hit.reason for hit in nobody.hits} == {"popular"}
        assert nobody.hits[0].score == 1.0

    def test_a_shelf_is_full_or_tells_why_not(self, shop):
        shop.publish()
        view = shop.live().current()
        history = shop.history("u0")
        full = shop.answer_to(view, k=ITEMS, history=history)
        assert (len(full.hits), full.shortfall) == (ITEMS, None)
        assert len({hit.item_id for hit in full.hits}) == ITEMS
        short = shop.answer_to(view, k=ITEMS + 5, exclude_items=["i0", "nothing"], history=history)
        assert (short.shortfall.requested, short.shortfall.returned) == (ITEMS + 5, ITEMS - 1)
        assert "i0" not in {hit.item_id for hit in short.hits}

    def test_given_items_are_ranked_by_taste_and_unknown_ones_come_last(self, shop):
        shop.publish()
        view = shop.live().current()
        asked = ["ghost", "i1", "i2", "i3", "i2"]
        hits = shop.ranked(view, asked, history=shop.history("u0"))
        assert [hit.item_id for hit in hits][:2] == ["i2", "i2"]
        assert (hits[-1].item_id, hits[-1].reason) == ("ghost", "unranked")
        assert sorted(hit.item_id for hit in hits) == sorted(asked)
        nobody = shop.ranked(view, asked)
        assert [hit.reason for hit in nobody] == ["popular"] * 4 + ["unranked"]
        assert shop.ranked(view, ["ghost"], history=shop.history("u0"))[0].row == -1

    def test_items_similar_to_an_even_one_are_even_and_not_itself(self, shop):
        shop.publish()
        view = shop.live().current()
        answer = shop.similar(view, ["i4"], k=10, exclude_items=["i6"])
        found = [hit.item_id for hit in answer.hits]
        assert len(found) == 10
        assert {int(id_[1:]) % 2 for id_ in found} == {0}
        assert not {"i4", "i6"} & set(found)
        assert answer.hits[0].score == pytest.approx(1 / np.hypot(1, 0.5), abs=1e-3)  # as all items have the same users
        away = shop.similar(view, ["i4"], ["i5"], k=10)
        assert {int(hit.item_id[1:]) % 2 for hit in away.hits} == {0}
        assert shop.similar(view, ["i4"], k=100).shortfall.returned == ITEMS - 1

    def test_an_item_that_is_not_there_or_has_no_vector_cannot_be_searched_from(self, shop):
        shop.change(items.upsert, [Item("catalogued")])
        shop.publish()
        shop.change(items.upsert, [Item("newer")])
        view = shop.live().current()
        with pytest.raises(NotFound, match="there is no item 'ghost' to search from"):
            shop.similar(view, ["i0", "ghost"], k=3)
        for item_id in ("catalogued", "newer"):
            with pytest.raises(NotFound, match=f"item '{item_id}' has no vector yet"):
                shop.similar(view, [item_id], k=3)

    def test_before_the_first_generation_new_items_fill_the_shelf_and_search_says_so(self, shop):
        view = shop.live().current()
        assert len(shop.shown(view, k=5)) == 5
        assert "nothing is indexed yet" in shop.similar(view, (), vector=np.ones(2, np.float32), k=5).shortfall.reason


class TestGenerations:
    def test_a_generation_opens_as_it_was_built_for_every_recipe(self, shop):
        for recipe in ("flat", "IVF4,Flat", "hnsw"):
            name = shop.build(recipe=recipe)
            with shop.database.connect() as conn:
                latent = models.load_space(conn, shop.space.key, 1)
            opened = open_generation(shop.path(name))
            assert (opened.generation, opened.model, opened.metric) == (name, 1, "dot")
            assert opened.items.ids[:ITEMS] == latent.items.ids.ids
            assert np.array_equal(opened.vectors, latent.items.matrix)
            assert np.array_equal(opened.users.matrix, latent.users.matrix)
            exact = -np.sort(-(latent.users.matrix @ latent.items.matrix.T), axis=1)[:, :20]
            scores, _ = opened.users_to_items.search(latent.users.matrix, 20)  # as many as the build measures
            assert np.mean(scores >= exact - 1e-5) >= (1.0 if recipe == "flat" else 0.95)
        assert not list((shop.folder / shop.space.name).glob(".*"))  # nothing half done

    def test_a_flipped_bit_in_any_file_is_noticed(self, shop):
        name = shop.build(recipe="IVF4,Flat")
        files = sorted(shop.path(name).iterdir())
        assert {"metric.faiss", "cosine.faiss", "items.npy", MANIFEST} <= {file.name for file in files}
        for file in files:
            for at in (0, file.stat().st_size // 2, file.stat().st_size - 1):
                flip(file, at)
                with pytest.raises(CorruptGeneration):
                    verify(shop.path(name))
                with pytest.raises(CorruptGeneration):
                    publish(shop.database, shop.space, name, shop.folder)
                flip(file, at)
        assert verify(shop.path(name))["generation"] == name

    def test_a_flipped_bit_anywhere_in_the_manifest_changes_nothing_or_is_noticed(self, shop):
        path = shop.path(shop.build()) / MANIFEST
        whole, size = json.loads(path.read_text()), path.stat().st_size
        for at in range(0, size, 7):
            flip(path, at)
            with contextlib.suppress(CorruptGeneration):
                assert verify(path.parent) == whole
            flip(path, at)

    def test_a_missing_or_cut_file_is_noticed(self, shop):
        path = shop.path(shop.build())
        cut = path / "items.npy"
        cut.write_bytes(cut.read_bytes()[:-4])
        with pytest.raises(CorruptGeneration, match=r"items\.npy"):
            open_generation(path)
        cut.unlink()
        with pytest.raises(CorruptGeneration, match="cannot be read"):
            open_generation(path)

    def test_a_build_below_the_floor_leaves_no_record(self, shop):
        with pytest.raises(BelowFloor):
            build_with_little_effort(shop)
        with shop.database.connect() as conn:
            assert generations.list_all(conn, shop.space.key) == []

    def test_an_unknown_model_or_one_without_vectors_is_told(self, shop, database):
        with pytest.raises(NotFound, match="there is no model version 9"):
            shop.build(9)
        with database.begin() as conn:
            empty = spaces.ensure(conn, shop.space.name + "-empty")
            latent = models.load_space(conn, shop.space.key, 1)
            models.save(conn, empty.key, embedder="spectral", params={}, space=latent, evaluation={}, publishable=True)
        with pytest.raises(NotEnoughData, match="model version 1 has no item vectors to index"):
            build_generation(database, empty, 1, shop.folder)

    def test_an_unknown_generation_cannot_be_published(self, shop):
        with pytest.raises(NotFound, match="there is no generation 'nope'"):
            publish(shop.database, shop.space, "nope", shop.folder)

    def test_publishing_keeps_one_generation_back_and_removes_older_ones(self, shop):
        first, second, third = shop.publish(), shop.publish(), shop.publish()
        assert not shop.path(first).exists()
        assert shop.path(second).exists()
        with shop.database.connect() as conn:
            assert {one.generation for one in generations.list_all(conn, shop.space.key)} == {second, third}
            assert generations.active(conn, shop.space.key).generation == third

    def test_a_refused_generation_that_another_process_activates_keeps_its_files(self, shop, monkeypatch):
        first, second = shop.publish(), shop.build()
        activate = generations.activate

        def overtaken(conn, *arguments, **options):
            monkeypatch.undo()
            publish(shop.database, shop.space, second, shop.folder)
            activate(conn, *arguments, **options)

        monkeypatch.setattr(generations, "activate", overtaken)
        with pytest.raises(Conflict, match=f"got {second}, which was published in the meantime"):
            publish(shop.database, shop.space, second, shop.folder, instead_of=first)
        assert shop.live().current().generation.generation == second
        assert shop.path(second).exists()

    def test_a_rollback_serves_the_one_before_and_without_one_is_refused(self, shop):
        first = shop.publish()
        with pytest.raises(Conflict, match="no earlier generation"):
            rollback(shop.database, shop.space, shop.folder)
        second = shop.publish()
        live = shop.live()
        assert live.current().generation.generation == second
        assert rollback(shop.database, shop.space, shop.folder) == first
        view = live.refresh()
        assert (view.generation.generation, view.degraded) == (first, False)

    @pytest.fixture
    def meanwhile(self, monkeypatch):
        """Run an action after the next call of `publish` or `rollback` has verified the files."""

        def once(do):
            def checked(path, recorded=None):
                monkeypatch.undo()
                verify(path)
                do()

            monkeypatch.setattr("indexing.building.publish.verify", checked)

        return once

    def test_two_concurrent_rollbacks_roll_back_once(self, shop, meanwhile):
        first, second = shop.publish(), shop.publish()
        meanwhile(lambda: rollback(shop.database, shop.space, shop.folder))
        assert rollback(shop.database, shop.space, shop.folder) == first
        assert shop.live().current().generation.generation == first
        assert rollback(shop.database, shop.space, shop.folder) == second, "who comes later goes back again"

    def test_a_rollback_does_not_take_back_what_was_published_meanwhile(self, shop, meanwhile):
        _, second, third = shop.publish(), shop.publish(), shop.build()
        meanwhile(lambda: shop.change(generations.activate, third))
        with pytest.raises(Conflict, match=f"expected {second} to be active, got {third}, which"):
            rollback(shop.database, shop.space, shop.folder)
        assert shop.live().current().generation.generation == third

    def test_the_seq_of_an_activation_is_held_once_the_generation_is_opened_and_no_sooner(self, shop):
        first, second = shop.publish(), shop.publish()
        live = shop.live()
        assert live.current().generation.generation == second
        seq = publish(shop.database, shop.space, first, shop.folder)
        shop.change(items.upsert, [Item("later")])
        with pytest.raises(DeadlineExceeded, match=f"asked for min_seq {seq}"):
            live.wait_for(seq, 0.05)
        assert "later" in shop.shown(live.current()), "what changed otherwise does not wait for it"
        live.refresh()
        assert live.wait_for(seq, 0.05).generation.generation == first

    def test_a_view_that_holds_the_seq_of_a_weighting_has_it(self, shop):
        shop.publish()
        live = shop.live()
        assert live.current().space.weighting.other == 0.0
        with shop.database.begin() as conn:
            spaces.set_weighting(conn, shop.space, replace(shop.space.weighting, other=7.0))
            seq = snapshots.transaction_seq(conn)
        assert live.wait_for(seq, 1.0).space.weighting.other == 7.0


def build_with_little_effort(shop: Shop) -> None:
    """A hundred random items with a recipe that compresses them too much."""
    draw = np.random.default_rng(0)
    rows = [Event(f"v{n}", f"x{item}", "view", NOW) for n in range(300) for item in draw.choice(1000, 8, replace=False)]
    shop.change(events.append, rows)
    with shop.database.begin() as conn:
        columns = events.read_columns(conn, shop.space.key)
        latent = make("spectral", {"dim": 32}).fit(
            from_events(columns, shop.space.weighting, NOW_US), seed=0, device="cpu"
        )
        record = models.save(
            conn, shop.space.key, embedder="spectral", params={}, space=latent, evaluation={}, publishable=True
        )
    shop.build(record.version, "IVF8,PQ1x4")


class TestLive:
    def test_a_deleted_and_an_unavailable_item_are_gone_and_a_new_one_is_there_after_a_refresh(self, shop):
        shop.publish()
        live = shop.live()
        assert {"i0", "i2"} <= set(shop.shown(live.current()))
        shop.change(items.delete, "i0")
        shop.change(items.set_availability, {"i2": False})
        shop.change(items.upsert, [Item("fresh", "Fresh", ("new",), {"price": 2})])
        view = live.refresh()
        shown = shop.shown(view)
        assert not {"i0", "i2"} & set(shown)
        assert shown[-1] == "fresh"
        assert json.loads(view.fields("fresh", view.items.row("fresh"))) == {
            "title": "Fresh",
            "categories": ["new"],
            "price": 2,
        }
        assert not {"i0", "i2"} & {hit.item_id for hit in shop.similar(view, ["i4"], k=100).hits}
        shop.change(items.set_availability, {"i2": True, "fresh": False})
        shown = shop.shown(live.refresh())
        assert "i2" in shown
        assert not {"i0", "fresh"} & set(shown)

    def test_items_hidden_before_the_build_stay_hidden_until_they_are_back(self, shop):
        shop.change(items.delete, "i0")
        shop.change(items.upsert, [Item("sold-out", available=False)])
        shop.change(items.set_availability, {"i2": False})
        shop.publish()
        live = shop.live()
        assert not {"i0", "i2", "sold-out"} & set(shop.shown(live.current()))
        shop.change(items.set_availability, {"i2": True, "sold-out": True})
        shown = shop.shown(live.refresh())
        assert {"i2", "sold-out"} <= set(shown)
        assert "i0" not in shown

    def test_a_change_between_the_build_and_the_first_look_is_seen(self, shop):
        name = shop.build()
        shop.change(items.delete, "i0")
        shop.change(items.upsert, [Item("i2", "Renamed")])
        publish(shop.database, shop.space, name, shop.folder)
        view = shop.live().current()
        assert "i0" not in shop.shown(view)
        assert json.loads(view.fields("i2", view.items.row("i2")))["title"] == "Renamed"

    def test_a_write_that_commits_during_the_build_is_seen_after_it(self, shop):
        with shop.database.begin() as late:
            items.delete(late, shop.space.key, "i0")
            shop.publish()
            live = shop.live()
            assert "i0" in shop.shown(live.current())
        assert "i0" not in shop.shown(live.refresh())

    def test_a_vector_that_is_taken_back_is_not_searched_any_more(self, shop):
        shop.change(items.upsert, [Item("own", vector=ItemVector(1, (5.0, 5.0)))])
        shop.publish()
        live = shop.live()
        before = live.current()
        row = before.items.row("own")
        asked = np.array([[5.0, 5.0]], np.float32)

        def found(view):
            return [
                searcher.search(asked, 31)[1][0].tolist() for searcher in (view.users_to_items, view.items_to_items)
            ]

        assert all(row in rows for rows in found(before))
        assert row in nearest_by_distance(before, asked, 31)[1][0]
        shop.change(items.upsert, [Item("own", title="without a vector")])
        after = live.refresh()
        assert after.vector(row) is None
        assert not any(row in rows for rows in found(after))
        assert row not in nearest_by_distance(after, asked, 31)[1][0]
        shop.change(items.upsert, [Item("own", vector=ItemVector(1, (5.0, 5.0)))])
        again = live.refresh()
        assert again.vector(row).tolist() == [5.0, 5.0]
        assert all(row in rows for rows in found(again))
        assert after.vector(row) is None

    def test_a_vector_that_is_brought_is_found_by_its_cosine_at_once_and_after_the_next_build(self, shop):
        shop.publish()
        live = shop.live()
        raw = live.current().vector(live.current().items.row("i4"))
        brought = ItemVector(1, tuple((3 * raw).tolist()))
        shop.change(items.upsert, [Item("own", vector=brought), Item("i8", vector=brought)])
        at_once = live.refresh()
        shop.publish()
        for view in (at_once, live.refresh()):
            best = shop.similar(view, ["i4"], k=2).hits
            assert sorted(hit.item_id for hit in best) == ["i8", "own"]
            assert [hit.score for hit in best] == pytest.approx([1.0, 1.0], abs=1e-5)
            [best] = shop.similar(view, ["own"], k=1, exclude_items=["i8"]).hits
            assert best.score == pytest.approx(0.894, abs=1e-3)
            own = view.similarity_vector(view.items.row("own"))
            assert len(own) == view.generation.similarity_vectors.transform.dim

    def test_a_mask_cached_for_a_newer_view_is_not_used_for_an_older_one(self, shop):
        shop.change(items.upsert, [Item("i0", attributes={"price": 50}), Item("i1", attributes={"price": 10})])
        shop.publish()
        live = shop.live()
        older, cheap = live.current(), predicate.parse({"price": {"lt": 20}}, ())
        shop.change(items.upsert, [Item("i0", attributes={"price": 5}), Item("i1", attributes={"price": 60})])
        newer = live.refresh()
        for view, expected in ((newer, "i0"), (older, "i1"), (newer, "i0")):
            assert np.flatnonzero(view.where(cheap).allowed).tolist() == [view.items.row(expected)]

    def test_a_view_taken_before_a_change_stays_as_it_was(self, shop):
        shop.publish()
        live = shop.live()
        before = live.current()
        shop.change(items.delete, "i0")
        live.refresh()
        assert "i0" in shop.shown(before)
        assert "i0" not in shop.shown(live.current())

    def test_nothing_changed_is_the_same_view(self, shop):
        shop.publish()
        live = shop.live()
        view = live.current()
        assert live.refresh().allowed is view.allowed
        assert live.refresh().generation is view.generation

    def test_the_previous_generation_is_served_in_place_of_a_corrupt_one_and_the_view_is_degraded(self, shop):
        first, second = shop.publish(), shop.publish(recipe="IVF4,Flat")
        flip(shop.path(second) / "metric.faiss", 200)
        live = shop.live()
        view = live.current()
        assert (view.generation.generation, view.degraded) == (first, True)
        assert shop.shown(view, "u0", k=1, exclude=set(shop.history("u0").item_ids)) == ["i0"]
        assert live.refresh().degraded
        third = shop.publish()
        view = live.refresh()
        assert (view.generation.generation, view.degraded) == (third, False)

    def test_going_back_to_the_generation_that_is_served_ends_the_degraded_state(self, shop):
        first, second = shop.publish(), shop.publish()
        flip(shop.path(second) / "items.npy", 200)
        live = shop.live()
        assert live.current().degraded
        assert rollback(shop.database, shop.space, shop.folder) == first
        assert live.refresh().degraded is False

    def test_when_every_generation_is_corrupt_it_is_rebuilt_from_the_database(self, shop):
        first, second = shop.publish(), shop.publish()
        for name in (first, second):
            flip(shop.path(name) / "items.npy", 200)
        live = shop.live()
        view = live.current()
        rebuilt = view.generation.generation
        assert rebuilt not in (first, second)
        assert view.degraded is False
        assert shop.shown(view, "u0", k=1, exclude=set(shop.history("u0").item_ids)) == ["i0"]
        with shop.database.connect() as conn:
            assert generations.active(conn, shop.space.key).generation == rebuilt
        assert live.refresh().generation.generation == rebuilt

    def test_a_rebuild_uses_the_requested_recipe(self, shop):
        name = shop.publish(recipe="IVF4,Flat")
        flip(shop.path(name) / "items.npy", 200)
        manifest = shop.live().current().generation.manifest
        assert manifest["generation"] != name
        assert (manifest["recipe"], manifest["device"]) == ("IVF4,Flat", "cpu")
        assert {index["factory"] for index in manifest["indexes"].values()} == {"IVF4,Flat"}

    def test_a_generation_built_on_a_missing_gpu_is_rebuilt_on_the_cpu(self, shop):
        import faiss

        shop.publish(recipe="IVF4,Flat")
        absent = {"device": f"cuda:{getattr(faiss, 'get_num_gpus', int)()}"}
        with shop.database.connect() as conn:
            active = generations.active(conn, shop.space.key)
        name = rebuild_generation(
            shop.database, shop.space, replace(active, manifest={**active.manifest, **absent}), shop.folder
        )
        with shop.database.connect() as conn:
            made = generations.get(conn, shop.space.key, name).manifest
        assert (made["recipe"], made["device"]) == ("IVF4,Flat", "cpu")

    def test_a_lost_folder_is_rebuilt_too(self, shop):
        import shutil

        shop.publish()
        shutil.rmtree(shop.folder)
        assert len(shop.shown(shop.live().current())) == ITEMS

    def test_a_database_that_goes_away_in_the_middle_of_a_refresh_loses_no_change(self, shop, monkeypatch):
        shop.publish()
        live = shop.live()
        live.current()
        shop.change(items.delete, "i0")

        def away(*arguments):
            raise StoreUnavailable("PostgreSQL is unreachable: cut in the middle")

        with monkeypatch.context() as patched:
            patched.setattr(items, "read_catalogue", away)
            view = live.refresh()
        assert view.stale
        assert "i0" in shop.shown(view)
        view = live.refresh()
        assert not view.stale
        assert "i0" not in shop.shown(view)

    def test_a_generation_of_another_database_means_reading_the_whole_catalogue(self, shop, monkeypatch):
        shop.change(items.delete, "i0")
        with monkeypatch.context() as patched:
            patched.setattr(snapshots, "current", lambda conn: Snapshot(2**40 + 5, 2**40 + 5, epoch="another-1-5"))
            shop.publish()
        shop.change(items.delete, "i2")
        live = shop.live()
        assert not {"i0", "i2"} & set(shop.shown(live.current()))
        shop.change(items.delete, "i4")
        assert "i4" not in shop.shown(live.refresh())

    def test_an_item_that_a_restored_database_does_not_have_is_not_shown(self, shop, monkeypatch):
        shop.publish()
        live = shop.live()
        assert "i0" in shop.shown(live.current())
        with shop.database.begin() as conn:  # as after a restore to a time before: no trace in the log
            conn.exec_driver_sql("ALTER TABLE items DISABLE TRIGGER items_deleted")
            for table in ("events", "items"):
                key = "(SELECT item_key FROM items WHERE space_key = %s AND item_id = 'i0')"
                conn.exec_driver_sql(f"DELETE FROM {table} WHERE item_key = {key}", (shop.space.key,))
            conn.exec_driver_sql("ALTER TABLE items ENABLE TRIGGER items_deleted")
        assert "i0" in shop.shown(live.refresh())
        monkeypatch.setattr(item_feed, "EPOCH", "'restored-2-5'")
        monkeypatch.setattr(item_feed, "READ", item_feed.READ.replace(EPOCH, "'restored-2-5'"))
        assert "i0" not in shop.shown(live.refresh())
        assert "i2" in shop.shown(live.current())

    def test_a_space_deleted_and_made_again_shows_nothing_of_the_old_one(self, shop):
        shop.publish()
        live = shop.live()
        live.current()
        with shop.database.begin() as conn:
            spaces.delete(conn, shop.space.name)
        with pytest.raises(NotFound):
            live.refresh()
        with shop.database.begin() as conn:
            again = spaces.ensure(conn, shop.space.name)
            items.upsert(conn, again.key, [Item("only")])
        view = live.refresh()
        answer = shop.answer_to(view, k=50)
        assert [hit.item_id for hit in answer.hits] == ["only"]

    def test_an_erased_user_is_gone_from_the_next_generation(self, shop):
        shop.publish()
        shop.change(users.delete, "u0")
        shop.publish()
        view = shop.live().current()
        assert view.users.ids.row("u0") is None
        assert view.users.ids.row("u1") is not None
        answer = shop.answer_to(view, k=3, history=shop.history("u0"))
        assert {hit.reason for hit in answer.hits} == {"popular"}

    def test_swaps_under_four_searching_threads_raise_no_error(self, shop):
        recipes = ["flat", "IVF4,Flat", "hnsw"]
        names = {shop.publish()}
        live = shop.live()
        live.current()
        history, stop, errors, seen = shop.history("u0"), threading.Event(), [], set()

        def search():
            while not stop.is_set():
                try:
                    view = live.current()
                    answer = shop.answer_to(view, k=5, history=history)
                    assert [int(hit.item_id[1:]) % 2 for hit in answer.hits] == [0] * 5
                    assert all(view.fields(hit.item_id, hit.row) for hit in answer.hits)
                    seen.add(view.generation.generation)
                except Exception as error:
                    errors.append(error)
                    return

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for n in range(9):
                names.add(shop.publish(recipe=recipes[n % 3]))
                shop.change(items.upsert, [Item(f"i{2 * n}", f"Title {n}")])
                live.refresh()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert errors == []
        assert len(seen) > 5
        assert seen <= names

    def test_a_poller_brings_changes_by_itself(self, shop):
        shop.publish()
        live = shop.live()
        live.current()
        poller = Poller({shop.space.name: live}, poll_s=0.02)
        poller.start()
        try:
            shop.change(items.delete, "i0")
            until = time.monotonic() + 30
            while "i0" in shop.shown(live.current()) and time.monotonic() < until:
                time.sleep(0.02)
        finally:
            poller.stop()
        assert "i0" not in shop.shown(live.current())
