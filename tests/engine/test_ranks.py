"""Training over two real processes of torch.distributed against the same training in one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.embedders.registry import make
from tests.engine.worlds import checkerboard, missing

PARAMS = {
    "elsa": {"dim": 4, "batch": 13, "epochs": 8},  # 40 users: the last batch of one leaves the second rank none
    "mf": {"dim": 2, "batch": 13, "epochs": 10, "negatives": 16},
    "multvae": {"dim": 8, "code": 8, "batch": 13},
    "item2vec": {"dim": 4, "batch": 13, "negatives": 64},
}
RANK = """
import sys
import numpy as np, torch.distributed as dist
from engine.embedders.registry import make
from tests.engine.test_ranks import PARAMS
from tests.engine.worlds import checkerboard
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
for name, params in PARAMS.items():
    losses = []
    space = make(name, params).fit(checkerboard(), seed=1, report=lambda epoch, loss, s: losses.append(loss))
    np.savez(f"{folder}/{name}{rank}.npz", items=space.items.matrix, users=space.users.matrix, losses=losses)
dist.destroy_process_group()
"""
CHOICE = """
import json, sys, torch.distributed as dist
from engine.embedders import ranks
from engine.errors import InputError
from engine.race import Auto
from engine.train import chosen
from engine.tune import Tune
from tests.engine.test_selection import split
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
choosers = [Auto(seconds=600.0), Auto(seconds=0.0)]  # the second alone would have time for one entry
choice = chosen(choosers[rank], split, seed=0)
told = choice.to_json() | {"ranks": ranks.n_ranks()}
space = choice.embedder.fit(split().train, seed=0)
told["items"] = float(abs(space.items.matrix).sum())
try:
    chosen([Tune(1.0, ("nothing",)), Auto()][rank], split)
except InputError as error:
    told["error"] = str(error)
open(f"{folder}/choice{rank}.json", "w").write(json.dumps(told))
dist.destroy_process_group()
"""


def run_two(program, folder):
    """`program` with a rank and `folder` as its arguments, in two processes at once."""
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(rank), str(folder)], env=environment, cwd=root)
        for rank in (0, 1)
    ]
    try:
        assert [process.wait(timeout=180) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_two(RANK, folder)
    return {name: [dict(np.load(folder / f"{name}{rank}.npz")) for rank in (0, 1)] for name in PARAMS}


@pytest.mark.parametrize("name", PARAMS)
def test_every_rank_ends_with_the_same_model(trained, name):
    first, second = trained[name]
    for array in ("items", "users", "losses"):
        assert np.array_equal(first[array], second[array])


def test_a_loss_without_noise_learns_in_two_what_it_learns_in_one(trained):
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


def test_what_the_first_rank_chooses_alone_is_what_all_learn(tmp_path):
    run_two(CHOICE, tmp_path)
    first, second = (json.loads((tmp_path / f"choice{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert {trial["embedder"] for trial in first["trials"]} == {"spectral", "blend", "ials"}
    assert all(trial["state"] == "done" for trial in first["trials"])
    assert first["ranks"] == 2  # only what is tried is learnt alone
    assert first["error"].startswith("expected embedders of ")
