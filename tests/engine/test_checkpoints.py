"""A training that was stopped goes on and ends exactly where it would have."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.checkpoints import Checkpoints
from engine.embedders.registry import EMBEDDERS, make
from engine.errors import TrainingFailed
from engine.fitting.fit import fit
from tests.engine.worlds import checkerboard

PARAMS = {
    "mf": {"dim": 4, "batch": 8, "epochs": 6, "negatives": 16},
    "elsa": {"dim": 4, "batch": 8, "epochs": 6},
    "multvae": {"dim": 8, "code": 4, "batch": 8, "epochs": 80},
    "item2vec": {"dim": 4, "batch": 8, "epochs": 6, "negatives": 16},
    "blend": {"dim": 2, "wide": 4, "sphere": 4, "sphere_epochs": 6},
}


class Stopped(Exception):
    """In the middle of a training."""


def stop_at(last):
    def report(epoch, loss, seconds):
        if epoch == last:
            raise Stopped

    return report


def stored(folder):
    return sorted(folder.glob("*.checkpoint"))


def test_every_embedder_that_says_it_can_go_on_is_tried_here():
    assert set(PARAMS) == {name for name in EMBEDDERS if make(name).abilities.resumable}


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_stopped_and_begun_again_it_ends_with_the_same_vectors(name, tmp_path):
    embedder, world = make(name, PARAMS[name]), checkerboard()
    whole = fit(embedder, world, seed=1)
    with pytest.raises(Stopped):
        fit(embedder, world, seed=1, report=stop_at(3), checkpoints=Checkpoints(tmp_path, every_s=0))
    again, passes = Checkpoints(tmp_path, every_s=0), []
    resumed = fit(embedder, world, seed=1, report=lambda *told: passes.append(told[0]), checkpoints=again)
    assert passes[0] == 3  # the pass whose end was not kept, from its last batch on
    assert [" resumed at pass 3 of " in sentence for sentence in again.messages] == [True]
    assert np.array_equal(resumed.items.matrix, whole.items.matrix)
    assert np.array_equal(resumed.users.matrix, whole.users.matrix)


def test_one_that_ended_is_not_learnt_again(tmp_path):
    embedder, world = make("mf", PARAMS["mf"]), checkerboard()
    ended = fit(embedder, world, checkpoints=Checkpoints(tmp_path, every_s=0))
    again = Checkpoints(tmp_path, every_s=0)
    assert np.array_equal(fit(embedder, world, report=stop_at(1), checkpoints=again).items.matrix, ended.items.matrix)
    assert again.messages == ["mf resumed at its end"]
    again.delete_all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{"learning_rate": 0.02}, {"seed": 2}, {"world": checkerboard(40, 28)}])
def test_other_parameters_seed_or_data_start_a_new_training(change, tmp_path):
    before = {"seed": 1, "world": checkerboard(), "learning_rate": 0.01}

    def run(changed, checkpoints, report=None):
        told = before | changed
        embedder = make("mf", PARAMS["mf"] | {"learning_rate": told["learning_rate"]})
        return fit(embedder, told["world"], seed=told["seed"], report=report, checkpoints=checkpoints)

    with pytest.raises(Stopped):
        run({}, Checkpoints(tmp_path, every_s=0), stop_at(3))
    again = Checkpoints(tmp_path, every_s=0)
    assert np.array_equal(run(change, again).items.matrix, run(change, None).items.matrix)
    assert again.messages == []


def test_a_damaged_checkpoint_is_reported_and_a_short_training_writes_none(tmp_path):
    embedder, world = make("mf", PARAMS["mf"]), checkerboard()
    whole = fit(embedder, world, checkpoints=Checkpoints(tmp_path))
    assert list(tmp_path.iterdir()) == []
    fit(embedder, world, checkpoints=Checkpoints(tmp_path, every_s=0))
    [path] = stored(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = Checkpoints(tmp_path)
    assert np.array_equal(fit(embedder, world, checkpoints=again).items.matrix, whole.items.matrix)
    assert again.messages == [f"{path} is damaged; training starts over"]


def test_one_that_diverges_leaves_none(tmp_path):
    embedder = make("mf", PARAMS["mf"] | {"learning_rate": 1e30})
    with pytest.raises(TrainingFailed):
        fit(embedder, checkerboard(), checkpoints=Checkpoints(tmp_path, every_s=0))
    assert list(tmp_path.iterdir()) == []


def test_killed_it_goes_on(tmp_path):
    script = (
        "import sys; from pathlib import Path; from engine.checkpoints import Checkpoints\n"
        "from engine.embedders.registry import make; from engine.fitting.fit import fit\n"
        "from tests.engine.worlds import checkerboard\n"
        "embedder = make('elsa', {'dim': 4, 'batch': 8, 'epochs': 400})\n"
        "fit(embedder, checkerboard(), checkpoints=Checkpoints(Path(sys.argv[1]), every_s=0))\n"
    )
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment, cwd=root)
    deadline = time.monotonic() + 60
    while not stored(tmp_path) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    embedder, again = make("elsa", {"dim": 4, "batch": 8, "epochs": 400}), Checkpoints(tmp_path)
    resumed = fit(embedder, checkerboard(), checkpoints=again)
    assert [sentence.startswith("elsa resumed at pass ") for sentence in again.messages] == [True]
    assert np.array_equal(resumed.items.matrix, fit(embedder, checkerboard()).items.matrix)
