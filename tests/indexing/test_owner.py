"""The owner of a device answers for every worker; whenever it does not, the CPU twin does. Here the device is a CPU."""

import threading
import time

import numpy as np
import pytest

from engine.errors import DeviceUnavailable
from indexing.exact import ExactSearcher
from indexing.generation import open_generation
from indexing.metric import unit
from indexing.owner import OwnedSearcher, Owner, address
from indexing.owning import owned, owning, searchers

VECTORS = unit(np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32))


class Told:
    """A searcher that counts what it is asked."""

    def __init__(self, vectors=VECTORS):
        self.exactly, self.asked = ExactSearcher(vectors), 0

    def search(self, queries, k, allowed=None):
        self.asked += 1
        return self.exactly.search(queries, k, allowed)


@pytest.fixture
def start(tmp_path):
    """Start an owner over a load function; gives its address."""
    owners = []

    def begin(load):
        where = str(tmp_path / "gpu.sock")
        owners.append(Owner(where, load))
        threading.Thread(target=owners[-1].run, daemon=True).start()
        return where

    yield begin
    for each in owners:
        each.close()


def until(true):
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


def test_the_twin_answers_while_the_owner_loads_and_the_owner_from_then_on(start, tmp_path):
    gpu, twin, loaded = Told(), Told(), threading.Event()
    searcher = OwnedSearcher(start(lambda folder: loaded.wait() and {"cosine": gpu}), tmp_path / "g1", "cosine", twin)
    assert searcher.search(VECTORS[:1], 3)[1][0, 0] == 0
    assert (gpu.asked, twin.asked) == (0, 1)
    loaded.set()

    def answered():
        assert searcher.search(VECTORS[5:6], 3)[1][0, 0] == 5
        return gpu.asked > 0

    until(answered)
    before = twin.asked
    mask = np.arange(500) % 2 == 1
    mask.flags.writeable = False
    for _ in range(3):
        scores, rows = searcher.search(VECTORS[4:6], 10, mask)
        assert (rows % 2 == 1).all()
        assert scores == pytest.approx(twin.exactly.search(VECTORS[4:6], 10, mask)[0], abs=1e-5)
    assert twin.asked == before


def test_the_twin_answers_when_there_is_no_owner_or_it_went_away_or_cannot_load(start, tmp_path):
    twin = Told()
    nobody = OwnedSearcher(str(tmp_path / "nobody.sock"), tmp_path, "cosine", twin)
    assert nobody.search(VECTORS[3:4], 1)[1].tolist() == [[3]]

    def refuse(folder):
        raise DeviceUnavailable("the index needs 9 MiB, GPU 0 has 1 MiB free")

    full = OwnedSearcher(start(refuse), tmp_path, "cosine", twin)
    for row in range(3):
        assert full.search(VECTORS[row : row + 1], 1)[1].tolist() == [[row]]
    assert twin.asked == 4


def test_a_published_generation_is_searched_through_the_owner_as_it_is_without(shop, start):
    path = shop.path(shop.publish())
    alone = open_generation(path)
    served = owned(alone, path, start(lambda folder: searchers(folder, "cpu")))
    queries = np.asarray(alone.vectors[:5])
    expected = alone.items_to_items.search(queries, 4)[0]
    for _ in range(20):
        assert served.items_to_items.search(queries, 4)[0] == pytest.approx(expected, abs=1e-5)
        time.sleep(0.02)
    assert served.items_to_items._owned(queries, 4, None) is not None


def test_a_server_asked_for_a_gpu_that_is_not_there_does_not_start(tmp_path):
    with pytest.raises(DeviceUnavailable, match="cuda:7 was asked for and FAISS sees"), owning(tmp_path, "cuda:7"):
        pass
    with owning(tmp_path, "cpu"):
        assert address(tmp_path, "cuda") != address(tmp_path, "cuda:1")
