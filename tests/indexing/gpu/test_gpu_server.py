"""The GPU server answers for all workers, and the CPU twin whenever it does not. In these tests the device is a CPU."""

import errno
import gc
import os
import signal
import socket
import struct
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Listener

import numpy as np
import pytest

from engine.errors import DeviceUnavailable
from indexing.generations.generation import open_generation
from indexing.gpu import gpu_client, gpu_server, process_supervisor
from indexing.gpu.batching import BatcherClosed
from indexing.gpu.gpu_client import GpuClientSearcher
from indexing.gpu.gpu_process import gpu_process, run_gpu_server, searchers, with_gpu_searchers
from indexing.gpu.gpu_server import GpuServer, address
from indexing.gpu.process_supervisor import supervised_process
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.metric import normalise_rows

VECTORS = normalise_rows(np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32))


def batcher_threads():
    return {thread for thread in threading.enumerate() if thread.name == "nearfield-batcher"}


class Told:
    """A searcher that counts its searches."""

    def __init__(self, vectors=VECTORS):
        self.exact_reference, self.asked = ExactSearcher(vectors), 0

    def search(self, queries, k, allowed=None):
        self.asked += 1
        return self.exact_reference.search(queries, k, allowed)


@pytest.fixture
def start(tmp_path):
    """Start a GPU server with a load function; returns its address."""
    owners = []

    def begin(load, **options):
        where = str(tmp_path / "gpu.sock")
        owners.append(GpuServer(where, load, **options))
        threading.Thread(target=owners[-1].run, daemon=True).start()
        return where

    yield begin
    for each in owners:
        each.close()


def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


def test_the_cpu_twin_answers_until_the_gpu_server_has_loaded(start, tmp_path):
    gpu, twin, loaded = Told(), Told(), threading.Event()
    searcher = GpuClientSearcher(
        start(lambda folder: loaded.wait() and {"cosine": gpu}), tmp_path / "g1", "cosine", twin
    )
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
        assert scores == pytest.approx(twin.exact_reference.search(VECTORS[4:6], 10, mask)[0], abs=1e-5)
    assert twin.asked == before


def test_the_cpu_twin_answers_when_the_gpu_server_is_missing_gone_or_cannot_load(start, tmp_path):
    twin = Told()
    nobody = GpuClientSearcher(str(tmp_path / "nobody.sock"), tmp_path, "cosine", twin)
    assert nobody.search(VECTORS[3:4], 1)[1].tolist() == [[3]]

    def refuse(folder):
        raise DeviceUnavailable("the index needs 9 MiB, GPU 0 has 1 MiB free")

    full = GpuClientSearcher(start(refuse), tmp_path, "cosine", twin)
    for row in range(3):
        assert full.search(VECTORS[row : row + 1], 1)[1].tolist() == [[row]]
    assert twin.asked == 4


def test_an_evicted_generation_is_freed_and_its_batchers_end(start, tmp_path):
    before, alive = batcher_threads(), []

    def load(folder):
        made = Told()
        alive.append(weakref.ref(made))
        return {"metric": made, "cosine": made}  # one searcher, so one batcher

    where = start(load)
    for number in range(6):
        searcher = GpuClientSearcher(where, tmp_path / f"g{number}", "cosine", Told())
        until(lambda searcher=searcher: searcher._ask_server(VECTORS[:1], 3, None) is not None)

    def held():
        gc.collect()
        return sum(each() is not None for each in alive)

    until(lambda: len(alive) == 6 and held() == 2 and len(batcher_threads() - before) == 2)
    assert searcher._ask_server(VECTORS[7:8], 1, None)[1].tolist() == [[7]]


def test_generations_of_many_spaces_are_resident_at_once(start, tmp_path):
    loads = []

    def load(folder):
        loads.append(folder.parent.name)
        return {"cosine": Told()}

    where, names = start(load), ["bikes", "books", "shoes", "tools"]
    searchers = [GpuClientSearcher(where, tmp_path / name / "g1", "cosine", Told()) for name in names]
    for searcher in [*searchers, *searchers]:
        until(lambda searcher=searcher: searcher._ask_server(VECTORS[:1], 3, None) is not None)
    assert loads == names


def test_an_older_generation_of_another_space_is_evicted_and_served_ones_stay(start, tmp_path):
    alive, loads = weakref.WeakSet(), []

    def load(folder):
        loads.append(f"{folder.parent.name} {folder.name}")
        if len(alive) >= 2:
            raise DeviceUnavailable("the index needs 9 MiB, GPU 0 has 1 MiB free")
        made = Told()
        alive.add(made)
        return {"cosine": made}

    where = start(load)
    for space, name in (("bikes", "g1"), ("bikes", "g2"), ("books", "g1")):
        searcher = GpuClientSearcher(where, tmp_path / space / name, "cosine", Told())
        until(lambda searcher=searcher: searcher._ask_server(VECTORS[:1], 3, None) is not None)
    bikes = GpuClientSearcher(where, tmp_path / "bikes" / "g2", "cosine", Told())
    assert bikes._ask_server(VECTORS[:1], 3, None) is not None
    assert loads == ["bikes g1", "bikes g2", "books g1", "books g1"]


def test_a_generation_evicted_while_it_loads_is_freed(start, tmp_path):
    before, alive, gates = batcher_threads(), {}, {f"g{number}": threading.Event() for number in range(4)}

    def load(folder):
        gates[folder.name].wait(30)
        made = Told()
        alive[folder.name] = weakref.ref(made)
        return {"cosine": made}

    where = start(load)
    searchers = {name: GpuClientSearcher(where, tmp_path / name, "cosine", Told()) for name in gates}
    for searcher in searchers.values():
        assert searcher._ask_server(VECTORS[:1], 3, None) is None
    for gate in gates.values():
        gate.set()
    until(lambda: searchers["g3"]._ask_server(VECTORS[:1], 3, None) is not None)

    def freed():
        gc.collect()
        return [alive[name]() for name in ("g0", "g1")] == [None, None]

    until(lambda: len(alive) == 4 and freed() and len(batcher_threads() - before) == 2)


def test_a_search_during_eviction_is_answered_with_loading(start, tmp_path):
    entered, gate = threading.Event(), threading.Event()

    class Slow(Told):
        def search(self, queries, k, allowed=None):
            entered.set()
            gate.wait(30)
            return super().search(queries, k, allowed)

    owner = GpuServer(
        str(tmp_path / "other.sock"), lambda folder: {"cosine": Slow() if folder.name == "g0" else Told()}
    )
    asked = (str(tmp_path / "g0"), "cosine", VECTORS[:1], 1, None, None)
    until(lambda: owner._generations.get(tmp_path / "g0") is not None)
    batchers = owner._generations.get(tmp_path / "g0")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(owner._answer(asked)))
    waiting.start()
    assert entered.wait(30)
    for name in ("g1", "g2"):
        owner._generations.get(tmp_path / name)
    gate.set()
    waiting.join(30)
    assert answers[0][0] == "found"  # what was asked before is answered
    until(lambda: batchers["cosine"]._closed)
    with pytest.raises(BatcherClosed):
        batchers["cosine"].search(VECTORS[:1], 1)
    owner._generations.get = lambda folder: batchers  # as one that took them a moment before they were closed
    assert owner._answer(asked) == ("loading",)
    owner.close()


def test_a_generation_that_does_not_fit_beside_the_older_one_takes_its_place(start, tmp_path):
    alive, attempts = weakref.WeakSet(), []

    def load(folder):
        """There is memory for two searchers, and each generation has two."""
        attempts.append(folder.name)
        made = {}
        for label in ("metric", "cosine"):
            if len(alive) >= 2:
                raise DeviceUnavailable("the index needs 9 MiB, GPU 0 has 1 MiB free")
            made[label] = Told()
            alive.add(made[label])
        return made

    where = start(load)
    for name in ("g1", "g2"):
        searcher = GpuClientSearcher(where, tmp_path / name, "cosine", Told())
        until(lambda searcher=searcher: searcher._ask_server(VECTORS[:1], 3, None) is not None)
    assert attempts == ["g1", "g2", "g2"]
    other = GpuClientSearcher(where, tmp_path / "another space" / "g1", "cosine", Told())
    other._ask_server(VECTORS[:1], 3, None)
    until(lambda: len(attempts) == 4)
    assert searcher._ask_server(VECTORS[7:8], 1, None)[1].tolist() == [[7]]  # no other space's generation goes for it
    assert other._ask_server(VECTORS[:1], 3, None) is None
    assert len(attempts) == 4


def test_what_a_load_that_failed_had_made_does_not_stay_while_it_is_tried_again(start, tmp_path):
    alive, seen = weakref.WeakSet(), []

    def load(folder):
        seen.append(len(alive))
        made = Told()
        alive.add(made)
        if len(seen) == 2:
            raise DeviceUnavailable("the second index does not fit")
        return {"cosine": made}

    where = start(load)
    for name in ("g1", "g2"):
        searcher = GpuClientSearcher(where, tmp_path / name, "cosine", Told())
        until(lambda searcher=searcher: searcher._ask_server(VECTORS[:1], 3, None) is not None)
    assert seen == [0, 1, 0]


@pytest.mark.parametrize(("forget_s", "loads"), [(0.01, 2), (1000.0, 1)])
def test_a_load_that_failed_is_tried_again_after_a_while_and_not_before(start, tmp_path, forget_s, loads):
    attempts = []

    def load(folder):
        attempts.append(folder)
        if len(attempts) == 1:
            raise OSError("a file is not there yet")
        return {"cosine": Told()}

    owner = GpuServer(str(tmp_path / "other.sock"), load, forget_s=forget_s)
    asked = (str(tmp_path / "g1"), "cosine", VECTORS[7:8], 1, None, None)
    wanted = "found" if loads == 2 else "failed"
    until(lambda: owner._answer(asked)[0] == wanted)
    answers = [owner._answer(asked) for _ in range(5)]
    assert len(attempts) == loads
    assert [each[0] for each in answers] == [wanted] * 5
    assert loads == 2 or answers[0][1] == "OSError: a file is not there yet"
    owner.close()


def concurrently(searches):
    """The answers of concurrent searches; a hanging search fails the test instead of blocking it."""
    pool = ThreadPoolExecutor(len(searches))
    futures = [pool.submit(*each) for each in searches]
    pool.shutdown(wait=False)
    return [future.result(60) for future in futures]


def test_all_threads_wait_once_for_a_hanging_gpu_server_and_retry_later(start, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_client, "ANSWER_S", 0.3)
    monkeypatch.setattr(gpu_client, "HANG_S", 1000.0)
    gate = threading.Event()

    class Hanging(Told):
        def search(self, queries, k, allowed=None):
            found = super().search(queries, k, allowed)
            gate.wait(60)
            return found

    gpu, twin = Hanging(), Told()
    searcher = GpuClientSearcher(start(lambda folder: {"cosine": gpu}), tmp_path, "cosine", twin)
    until(lambda: searcher.search(VECTORS[:1], 1)[1].tolist() == [[0]] and gpu.asked == 1)
    before = twin.asked
    answers = concurrently([(searcher.search, VECTORS[n : n + 1], 1) for n in range(8)])
    assert [rows.tolist() for _, rows in answers] == [[[n]] for n in range(8)]
    assert (gpu.asked, twin.asked) == (1, before + 8)
    gate.set()
    searcher._cooldown.until = 0.0  # as after HANG_S
    assert searcher._ask_server(VECTORS[9:10], 1, None)[1].tolist() == [[9]]  # its own answer, not that to the first


def hang_up(connection):
    connection.recv()
    connection.close()


def answer_by_half(connection):
    connection.recv()
    os.write(connection.fileno(), struct.pack("!i", 1000) + b"half")


@pytest.mark.parametrize("behave", [hang_up, answer_by_half, lambda connection: None])
def test_the_cpu_twin_answers_when_the_gpu_server_ends_or_hangs_during_a_search(tmp_path, monkeypatch, behave):
    monkeypatch.setattr(gpu_client, "ANSWER_S", 0.3)
    kept = []
    with Listener(str(tmp_path / "gpu.sock"), family="AF_UNIX") as listener:

        def accept():
            kept.append(listener.accept())
            behave(kept[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        twin = Told()
        searcher = GpuClientSearcher(str(tmp_path / "gpu.sock"), tmp_path, "cosine", twin)
        (found,) = concurrently([(searcher.search, VECTORS[3:4], 1)])
        assert found[1].tolist() == [[3]]
        assert (twin.asked, len(kept)) == (1, 1)
        assert searcher._cooldown.until > 0
        thread.join(30)
    for each in kept:
        each.close()


def test_a_process_that_no_longer_accepts_or_reads_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_client, "ANSWER_S", 0.2)
    many = np.repeat(VECTORS, 60, axis=0)  # more than a socket holds
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "gpu.sock"))
        listening.listen(0)
        for _ in range(3):  # the queue of those not accepted is full after one or two
            twin = Told()
            searcher = GpuClientSearcher(str(tmp_path / "gpu.sock"), tmp_path, "cosine", twin)
            (found,) = concurrently([(searcher.search, many, 1)])
            assert (found[1].shape, twin.asked) == ((len(many), 1), 1)


def test_the_gpu_server_answers_as_the_searchers_of_the_generation_do(shop, start):
    path = shop.path(shop.publish())
    alone = open_generation(path)
    served = with_gpu_searchers(alone, path, start(lambda folder: searchers(folder, "cpu")))
    queries = np.asarray(alone.vectors[:5])
    expected = alone.items_to_items.search(queries, 4)[0]
    for _ in range(20):
        assert served.items_to_items.search(queries, 4)[0] == pytest.approx(expected, abs=1e-5)
        time.sleep(0.02)
    assert served.items_to_items._ask_server(queries, 4, None) is not None


def test_a_killed_gpu_process_is_restarted_and_ends_with_its_block(shop, tmp_path, monkeypatch):
    path, where = shop.path(shop.publish()), str(tmp_path / "gpu.sock")
    monkeypatch.setattr(process_supervisor, "PAUSE_S", 0.1)
    served = with_gpu_searchers(open_generation(path), path, where).items_to_items
    queries = np.asarray(open_generation(path).vectors[:5])
    with supervised_process(run_gpu_server, where, "cpu") as kept:
        until(lambda: served._ask_server(queries, 4, None) is not None, 90)
        killed = kept.process
        os.kill(killed.pid, signal.SIGKILL)
        killed.join(30)
        assert served.search(queries, 4)[1].shape == (5, 4)  # the twin's
        until(lambda: served._ask_server(queries, 4, None) is not None, 90)
        last = kept.process
        assert last.pid != killed.pid
    assert not last.is_alive()
    assert not any(thread.name == "nearfield-supervisor" for thread in threading.enumerate())


def test_a_process_that_ignores_sigterm_is_killed_and_not_restarted(tmp_path, monkeypatch):
    monkeypatch.setattr(process_supervisor, "END_S", 0.2)
    script = f"trap '' TERM; : > {tmp_path}/ready; exec sleep 1000"
    with supervised_process(os.execvp, "sh", ["sh", "-c", script]) as kept:
        until((tmp_path / "ready").exists)
    assert kept.process.exitcode == -signal.SIGKILL


def test_a_process_that_cannot_be_started_again_is_tried_once_more(tmp_path, monkeypatch):
    monkeypatch.setattr(process_supervisor, "PAUSE_S", 0.05)
    failed = threading.Event()
    with supervised_process(time.sleep, 1000) as kept:
        first, started = kept.process, kept._start

        def out_of_memory():
            failed.set()
            monkeypatch.setattr(kept, "_start", started)
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        monkeypatch.setattr(kept, "_start", out_of_memory)
        first.kill()
        until(lambda: kept.process is not first)
        assert failed.is_set()
        assert kept.process.is_alive()


def test_a_gpu_server_out_of_file_descriptors_accepts_connections_again_later(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_server, "PAUSE_S", 0.05)
    where = str(tmp_path / "gpu.sock")
    owner = GpuServer(where, lambda folder: {"cosine": Told()})
    accept, left = owner._listener.accept, [OSError(errno.EMFILE, "Too many open files"), RuntimeError("no thread")]

    def accept_later():
        if left:
            raise left.pop()
        return accept()

    monkeypatch.setattr(owner._listener, "accept", accept_later)
    running = threading.Thread(target=owner.run, daemon=True)
    running.start()
    searcher = GpuClientSearcher(where, tmp_path / "g", "cosine", Told())
    until(lambda: searcher._ask_server(VECTORS[:1], 3, None) is not None)
    assert not left
    monkeypatch.setattr(owner._listener, "accept", lambda: owner._closed.wait() and accept())
    GpuClientSearcher(where, tmp_path / "g", "cosine", Told()).search(
        VECTORS[:1], 3
    )  # the call that waits takes this one
    owner.close()
    running.join(10)
    assert not running.is_alive()


def test_a_server_asked_for_a_gpu_that_is_not_there_does_not_start(tmp_path):
    with (
        pytest.raises(DeviceUnavailable, match="cuda:7 was requested, but FAISS sees"),
        gpu_process(tmp_path, "cuda:7"),
    ):
        pass
    with gpu_process(tmp_path, "cpu"):
        assert address(tmp_path, "cuda") != address(tmp_path, "cuda:1")
