"""Records of machines: pressure follows heat, three modes, some cells missing; one kind of fault breaks the rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

N, N_FAULTS = 300, 6


def machines() -> pl.DataFrame:
    """Records m-000 to m-299; the last six are faults, whose pressure no longer follows heat."""
    draw = np.random.default_rng(6)
    heat = draw.normal(300, 5, N)
    pressure = heat * 2 + draw.normal(0, 0.5, N)
    pressure[-N_FAULTS:] -= 40
    speed = draw.normal(1500, 100, N)
    mode = np.array(["L", "M", "H"], object)[draw.integers(0, 3, N)]
    return pl.DataFrame(
        {
            "machine": [f"m-{row:03}" for row in range(N)],
            "heat": heat,
            "pressure": pressure,
            "speed": [None if row % 40 == 0 else value for row, value in enumerate(speed.tolist())],
            "mode": [None if row % 50 == 1 else value for row, value in enumerate(mode)],
            "state": ["fault" if row >= N - N_FAULTS else "fine" for row in range(N)],
        }
    )


def write_machines(folder: Path) -> Path:
    path = folder / "machines.csv"
    machines().write_csv(path)
    return path


GOOD = {"heat": 300, "pressure": 600, "speed": 1500, "mode": "L"}
BROKEN = GOOD | {"pressure": 540}
