"""Generations with foreign, inconsistent or damaged files are refused, reported and rebuilt."""

import json
import shutil
import time

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from safetensors import numpy as safetensors

from engine.errors import CorruptGeneration
from engine.store import generations, items
from engine.store.database.leader_election import LeaderElection, is_job_running
from engine.values.items import Item
from indexing.building.build import rebuild_job
from indexing.building.publish import publish, rollback
from indexing.generations.contents import ARRAYS, TABLES
from indexing.generations.generation import open_generation
from indexing.generations.manifest import MANIFEST, seal
from indexing.refresh.maintenance import Maintenance
from tests.indexing.shop import ITEMS, Shop


def record(shop, name):
    with shop.database.connect() as conn:
        return generations.get(conn, shop.space.key, name)


def flip(path, at=200):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def sealed_again(shop, name, **changed):
    """Recompute every checksum of a generation, in its folder and in its record."""
    path = shop.path(name)
    manifest = {key: value for key, value in record(shop, name).manifest.items() if key not in ("files", "checksum")}
    (path / MANIFEST).unlink()
    full = seal(path, manifest | changed)
    with shop.database.begin() as conn:
        conn.exec_driver_sql("UPDATE generations SET manifest = %s WHERE generation = %s", (json.dumps(full), name))


class TestIdentity:
    @pytest.mark.parametrize("which", ["the manifest alone", "all files"])
    def test_the_files_of_an_older_generation_in_the_folder_of_the_active_one_are_not_served_as_the_active_one(
        self, shop, which
    ):
        first, second = shop.publish(), shop.publish()
        for file in [MANIFEST] if which == "the manifest alone" else sorted(shop.path(first).iterdir()):
            shutil.copy(shop.path(first) / file, shop.path(second))
        view = shop.live().current()
        assert (view.generation.generation, view.degraded, view.refused.generation) == (first, True, second)
        assert f"has the files of generation {first}, expected its own" in view.refused.why

    def test_another_manifest_with_the_same_name_is_not_the_one_that_was_recorded(self, shop):
        first, second = shop.publish(), shop.publish()
        manifest = json.loads((shop.path(second) / MANIFEST).read_text())
        (shop.path(second) / MANIFEST).unlink()
        seal(shop.path(second), {**manifest, "model": 7})
        view = shop.live().current()
        assert (view.generation.generation, view.refused.generation) == (first, second)
        assert "is not the one that was recorded: expected model 1" in view.refused.why
        with pytest.raises(CorruptGeneration, match="is not the one that was recorded"):
            publish(shop.database, shop.space, second, shop.folder)

    def test_a_rollback_to_a_folder_with_another_generation_is_refused(self, shop):
        first, second = shop.publish(), shop.publish()
        shutil.copy(shop.path(second) / MANIFEST, shop.path(first))
        with pytest.raises(CorruptGeneration, match="has the files of generation"):
            rollback(shop.database, shop.space, shop.folder)


def array(change):
    def changed(path):
        np.save(path, change(np.load(path)))

    return changed


def table(change):
    def changed(path):
        with pa.ipc.open_file(str(path)) as file:
            made = change(file.read_all())
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, made.schema) as writer:
            writer.write_table(made)

    return changed


def tensors(change):
    def changed(path):
        safetensors.save_file({key: np.ascontiguousarray(each) for key, each in change(path).items()}, path)

    return changed


def without_last(name):
    return tensors(lambda path: (found := safetensors.load_file(path)) | {name: found[name][:-1]})


def fewer_vectors(path):
    index = faiss.read_index(str(path))
    index.remove_ids(np.array([ITEMS - 1]))
    faiss.write_index(index, str(path))


def rows_beyond(made):
    far = pc.add(pc.list_flatten(made["rows"]), 1000)
    rows = pa.LargeListArray.from_arrays(made["rows"].combine_chunks().offsets, far.combine_chunks())
    return made.set_column(made.schema.get_field_index("rows"), "rows", rows)


def values_missing(made):
    at = made.schema.get_field_index("numbers")
    return made.set_column(at, "numbers", pa.array([[] for _ in range(made.num_rows)], made.schema.field(at).type))


def rests_of_some(made):
    at = made.schema.get_field_index("rests")
    return made.set_column(at, "rests", pa.array([[1] for _ in range(made.num_rows)], made.schema.field(at).type))


def hidden_nowhere(made):
    nothing = pa.nulls(made.num_rows, pa.bool_())
    return made.set_column(made.schema.get_field_index("available"), "available", nothing)


def twice(made):
    return pa.concat_tables([made.slice(0, made.num_rows - 1), made.slice(0, 1)])


DAMAGE = {
    "items.npy: a vector too few": array(lambda vectors: vectors[:-1]),
    "items.npy: a dimension too many": array(lambda vectors: np.c_[vectors, vectors[:, :1]]),
    "items.npy: float64": array(lambda vectors: vectors.astype(np.float64)),
    "items.npy: one dimension": array(lambda vectors: vectors.ravel()),
    "learnt.npy: a vector too many": array(lambda vectors: np.r_[vectors, vectors[:1]]),
    "learnt.npy: a dimension too few": array(lambda vectors: vectors[:, :1]),
    "factors.npy: one too few": array(lambda factors: factors[:-1]),
    "places.npy: a place too few": array(lambda places: places[:-1]),
    "places.npy: a dimension too few": array(lambda places: places[:, :1]),
    "place_factors.npy: one too many": array(lambda factors: np.r_[factors, factors[:1]]),
    "likeness.safetensors: a dimension too few": without_last("turn"),
    "likeness.safetensors: an option too few": without_last("options"),
    "users.npy: a user too few": array(lambda vectors: vectors[:-1]),
    "users.npy: a dimension too few": array(lambda vectors: vectors[:, :1]),
    "users.arrow: a user too few": table(lambda made: made.slice(1)),
    "users.arrow: another column": table(lambda made: made.rename_columns(["name"])),
    "popularity.npy: one too few": array(lambda shares: shares[:-1]),
    "popularity.npy: one too many": array(lambda shares: np.r_[shares, shares[:1]]),
    "behaviour.safetensors: an item without counts": tensors(
        lambda path: (found := safetensors.load_file(path)) | {"counts": found["counts"][:, :-1]}
    ),
    "behaviour.safetensors: a list too few": without_last("together_starts"),
    "behaviour.safetensors: an interval too few": without_last("repurchase_days"),
    "catalogue.arrow: an item too few": table(lambda made: made.slice(0, made.num_rows - 1)),
    "catalogue.arrow: an item twice": table(twice),
    "catalogue.arrow: no item that is hidden or not": table(hidden_nowhere),
    "catalogue.arrow: a column missing": table(lambda made: made.drop_columns(["title"])),
    "attributes.arrow: rows that are not there": table(rows_beyond),
    "attributes.arrow: rows without values": table(values_missing),
    "attributes.arrow: another number of rests": table(rests_of_some),
    "fold_in.safetensors: an item too few": without_last("item_scale"),
    "fold_in.safetensors: a dimension too few": without_last("dim_scale"),
    "fold_in.safetensors: nothing of it": tensors(lambda path: {"other": np.ones(3, np.float32)}),
    "encoder.safetensors: a feature too few": without_last("weights"),
    "encoder.safetensors: a dimension too few": without_last("mean"),
    "encoder.safetensors: a scale too few": without_last("scale"),
    "metric.faiss: a vector too few": fewer_vectors,
    "cosine.faiss: a vector too few": fewer_vectors,
}


class TestContents:
    @pytest.fixture
    def described(self, shop):
        """A shop whose generations have every kind of file."""
        rows = [Item(f"i{n}", None, (("even", "odd")[n % 2],), {"price": n}) for n in range(ITEMS)]
        shop.change(items.upsert, rows)
        shop.change(items.upsert, [Item("i0", vector=items.ItemVector(1, (1.0, 2.0)))])
        return shop

    def test_inconsistent_files_are_refused_though_their_checksums_are_right(self, described):
        shop, first = described, described.publish()
        second = shop.publish(recipe="IVF4,Flat")
        assert {each.split(":")[0] for each in DAMAGE} == {each.name for each in shop.path(second).iterdir()} - {
            MANIFEST
        }
        kept = shop.folder / "kept"
        shutil.copytree(shop.path(second), kept)
        for damage, change in DAMAGE.items():
            change(shop.path(second) / damage.split(":")[0])
            sealed_again(shop, second)
            view = shop.live().current()
            told = (view.generation.generation, view.degraded)
            assert told == (first, True), damage
            shutil.rmtree(shop.path(second))
            shutil.copytree(kept, shop.path(second))
        sealed_again(shop, second)
        assert shop.live().current().generation.generation == second

    @pytest.mark.parametrize(
        "changed",
        [{"n_learnt": ITEMS + 1}, {"n_vectors": 3}, {"metric": "hamming"}, {"fold_in": "sum"}, {"indexes": {}}],
        ids=str,
    )
    def test_a_manifest_that_contradicts_the_files_is_refused(self, shop, changed):
        name = shop.build()
        sealed_again(shop, name, **changed)
        with pytest.raises(CorruptGeneration, match=r"not fit|do not fit together"):
            open_generation(shop.path(name), record(shop, name).manifest)

    def test_every_written_array_and_table_is_checked(self, described):
        written = {each.name for each in described.path(described.build()).iterdir()}
        assert {name for name in written if name.endswith((".npy", ".arrow"))} == ARRAYS.keys() | TABLES.keys()


class TestRebuild:
    @pytest.fixture
    def upkeep(self, shop):
        made = Maintenance(shop.database, shop.folder)
        yield made
        made.close()

    def until_served_anew(self, live, upkeep):
        until = time.monotonic() + 120
        while (view := live.refresh()).degraded:
            assert time.monotonic() < until, view.refused
            upkeep(view)
            time.sleep(0.1)
        return view

    def test_a_generation_with_a_flipped_bit_is_rebuilt_while_the_previous_one_is_served(self, shop, upkeep):
        first, second = shop.publish(), shop.publish(recipe="IVF4,Flat")
        flip(shop.path(second) / "metric.faiss")
        live = shop.live()
        view = live.current()
        assert (view.generation.generation, view.refused.generation) == (first, second)
        assert "metric.faiss is damaged" in view.refused.why
        upkeep(view)
        with shop.database.connect() as conn:
            assert is_job_running(conn, rebuild_job(shop.space))
        view = self.until_served_anew(live, upkeep)
        assert view.generation.generation not in (first, second)
        assert view.generation.manifest["indexes"]["metric"]["factory"] == "IVF4,Flat"
        assert not shop.path(second).exists(), "what is damaged is nothing to go back to"
        assert rollback(shop.database, shop.space, shop.folder) == first

    def test_what_is_served_goes_on_while_neither_generation_of_the_record_is_whole(self, shop, upkeep):
        shop.publish()
        live = shop.live()
        served = live.current().generation.generation
        second, third = shop.publish(), shop.publish()
        for name in (second, third):
            flip(shop.path(name) / "items.npy")
        view = live.refresh()
        assert (view.generation.generation, view.refused.generation) == (served, third)
        shop.change(items.delete, "i0")
        assert "i0" not in shop.shown(live.refresh())
        view = self.until_served_anew(live, upkeep)
        assert view.generation.generation not in (served, second, third)
        assert "i0" not in shop.shown(view)

    def test_a_first_generation_that_is_damaged_before_it_is_opened_is_mended_beside_answers(self, shop, upkeep):
        live = shop.live()
        assert live.current().generation is None
        first = shop.publish()
        flip(shop.path(first) / "items.npy")
        view = live.refresh()
        assert (view.generation, view.refused.generation) == (None, first)
        assert len(shop.shown(view)) == ITEMS
        assert self.until_served_anew(live, upkeep).generation.generation != first

    def test_a_generation_built_in_another_folder_is_not_rebuilt(self, shop, upkeep, tmp_path):
        first = shop.publish()
        elsewhere = Shop(shop.database, shop.space, tmp_path / "another home")
        second = elsewhere.publish()
        live = shop.live()
        view = live.current()
        assert (view.generation.generation, view.refused.generation, view.refused.ours) == (first, second, False)
        upkeep(view)
        assert not upkeep._running
        shutil.rmtree(shop.folder / shop.space.name)
        third = shop.live().current().generation.generation
        assert third not in (first, second)
        theirs = elsewhere.live().current()
        assert (theirs.generation.generation, theirs.refused.generation) == (second, third), "it has its own to serve"

    def test_a_generation_refused_repeatedly_is_rebuilt_with_growing_pauses(self, shop, upkeep):
        shop.publish()
        flip(shop.path(shop.publish()) / "items.npy")
        view, waits = shop.live().current(), []
        for _ in range(3):
            upkeep._not_before.clear()
            upkeep(view)
            [process] = upkeep._running.values()
            process.kill()
            process.join()
            upkeep._finish_rebuild(shop.space.name)
            waits.append(upkeep._not_before[shop.space.name] - time.monotonic())
        assert waits[0] * 1.5 < waits[1] < waits[2] / 1.5


def test_a_job_counts_as_running_while_a_process_holds_its_election(database):
    election = LeaderElection(database, "a job")
    with database.connect() as conn:
        assert not is_job_running(conn, "a job")
        assert election.try_acquire()
        assert (is_job_running(conn, "a job"), is_job_running(conn, "another job")) == (True, False)
        election.release()
        until = time.monotonic() + 10
        while is_job_running(conn, "a job"):
            assert time.monotonic() < until
