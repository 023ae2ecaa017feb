"""Training over two real processes of torch.distributed against the same training in one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.embedders.registry import EMBEDDERS, make
from tests.engine.worlds import checkerboard, missing

PARAMS = {
    "elsa": {"dim": 4, "batch": 13, "epochs": 8},  # 40 users: the last batch of one leaves the second rank none
    "mf": {"dim": 2, "batch": 13, "epochs": 10, "negatives": 16},
    "multvae": {"dim": 8, "code": 8, "batch": 13},
    "item2vec": {"dim": 4, "batch": 13, "negatives": 64},
}
RANK = """
import functools, sys
import numpy as np
import engine.fitting.fit
from engine.embedders.training import data_parallel
from engine.embedders.registry import make
from tests.engine.embedders.training.test_data_parallel import PARAMS
from tests.engine.worlds import checkerboard
rank, folder = sys.argv[1:]
fitted, losses = engine.fitting.fit._check_and_fit, []
@functools.wraps(fitted)
def kept(embedder, *args, **options):
    space = fitted(embedder, *args, **options)
    np.savez(f"{folder}/{embedder.name}{rank}.npz", items=space.items.matrix, users=space.users.matrix, losses=losses)
    return space
engine.fitting.fit._check_and_fit = kept
def command():
    for name, params in PARAMS.items():
        losses.clear()
        made = make(name, params)
        engine.fitting.fit.fit(made, checkerboard(), seed=1, report=lambda epoch, loss, s: losses.append(loss))
data_parallel.run_with_followers(command)
"""
CHOICE = """
import json, sys
import engine.fitting.fit
from engine.embedders.training import data_parallel
from engine.embedders.registry import make
from engine.learning.auto_select import AutoSelect
from engine.learning.train import choose_embedder
from tests.engine.learning.test_auto_select_and_tune import split
rank, folder = sys.argv[1:]
fitted, fits = engine.fitting.fit._check_and_fit, []
def counted(embedder, *args, **options):
    fits.append((embedder.name, data_parallel.n_ranks()))
    return fitted(embedder, *args, **options)
counted.__module__, counted.__qualname__ = fitted.__module__, fitted.__qualname__
engine.fitting.fit._check_and_fit = counted
def command():
    choice = choose_embedder(AutoSelect(seconds=600.0), split, seed=0)
    tried = [*fits]
    fits.clear()
    engine.fitting.fit.fit(make("elsa", {"dim": 4}), split().train)
    return {"trials": len(choice.trials), "tried": tried}
told = data_parallel.run_with_followers(command)
open(f"{folder}/choice{rank}.json", "w").write(json.dumps({"told": told, "fits": fits}))
"""
FAILING = """
import sys
import engine.fitting.fit
from engine.embedders.training import data_parallel
from engine.embedders.registry import make
from engine.errors import InputError
from tests.engine.worlds import checkerboard
fitted, data_parallel.GRACE_S = engine.fitting.fit._check_and_fit, 0.1
def short(*args, **options):
    if sys.argv[1] == "1":
        raise InputError("no room here")
    return fitted(*args, **options)
short.__module__, short.__qualname__ = fitted.__module__, fitted.__qualname__
engine.fitting.fit._check_and_fit = short
data_parallel.run_with_followers(lambda: engine.fitting.fit.fit(make("elsa", {"dim": 4}), checkerboard()))
"""


def run_two(program, folder):
    """Exit codes of `program` with a rank and `folder` as its arguments, in two processes started as torchrun does."""
    root = str(Path(__file__).parents[4])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"} | meeting
    started = [
        subprocess.Popen([sys.executable, "-c", program, rank, str(folder)], env=environment | {"RANK": rank}, cwd=root)
        for rank in ("0", "1")
    ]
    try:
        return [process.wait(timeout=180) for process in started]
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    assert run_two(RANK, folder) == [0, 0]
    return {name: [dict(np.load(folder / f"{name}{rank}.npz")) for rank in (0, 1)] for name in PARAMS}


def test_an_embedder_that_learns_in_passes_learns_in_several_processes():
    assert {*PARAMS, "blend"} == {name for name in EMBEDDERS if make(name).abilities.resumable}


@pytest.mark.parametrize("name", PARAMS)
def test_every_rank_ends_with_the_same_model(trained, name):
    first, second = trained[name]
    for array in ("items", "users"):
        assert np.array_equal(first[array], second[array])
    assert len(first["losses"]) > 0
    assert len(second["losses"]) == 0  # rank 0 is told of passes


def test_a_loss_without_noise_learns_the_same_in_two_processes_as_in_one(trained):
    losses = []
    alone = make("elsa", PARAMS["elsa"]).fit(
        checkerboard(), seed=1, report=lambda epoch, loss, seconds: losses.append(loss)
    )
    assert trained["elsa"][0]["losses"] == pytest.approx(losses, rel=1e-4)
    assert trained["elsa"][0]["items"] == pytest.approx(alone.items.matrix, abs=1e-3)
    briefly = make("elsa", PARAMS["elsa"] | {"epochs": 1}).fit(checkerboard(), seed=1)
    assert np.abs(briefly.items.matrix - alone.items.matrix).max() > 0.01  # it did learn


@pytest.mark.parametrize("name", [name for name in PARAMS if name != "elsa"])
def test_a_loss_with_noise_of_its_own_in_each_solves_the_checkerboard(trained, name):
    found = trained[name][0]
    scores = np.where(checkerboard().matrix.toarray() > 0, -np.inf, found["users"] @ found["items"].T)
    assert scores.argmax(axis=1).tolist() == [missing(user) for user in range(40)]


def test_the_first_rank_chooses_alone_and_all_learn_afterwards(tmp_path):
    assert run_two(CHOICE, tmp_path) == [0, 0]
    first, second = (json.loads((tmp_path / f"choice{rank}.json").read_text()) for rank in (0, 1))
    assert second["told"] is None  # what the command returns is of rank 0
    assert len(first["told"]["tried"]) == first["told"]["trials"]
    assert {n_ranks for _, n_ranks in first["told"]["tried"]} == {1}
    assert first["fits"] == second["fits"] == [["elsa", 2]]


def test_a_follower_that_fails_alone_ends_all(tmp_path):
    first, second = run_two(FAILING, tmp_path)
    assert first != 0
    assert second != 0
