"""Soak test: does the memory of a server grow over many generation swaps, and does any request fail?

A server with one worker answers `search` on 4 connections while two generations are published in turn. The script waits
for each swap and reads the memory of the process ten times.

    python scripts/soak_swaps.py [--swaps 1000] [--n 20000] [--dim 64] [--recipe ivf] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench_reindex import SPACE, WAIT_S, Load, serving
from made_items import clustered, store

from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database, open_database
from indexing.building.build import build_generation
from indexing.building.publish import publish

POINTS, POLL_S = 10, 0.05


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), poll_s=POLL_S)
        with open_database(settings) as database:
            line = soak(settings, database, options)
    print(json.dumps(line) if options.json else "  ".join(f"{name} {value}" for name, value in line.items()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--recipe", default="ivf")
    parser.add_argument("--json", action="store_true", help="one JSON line")
    return parser.parse_args()


def soak(settings: Settings, database: Database, options: argparse.Namespace) -> dict[str, Any]:
    store(database, SPACE, clustered(options.n, options.dim))
    with database.begin() as conn:
        space = spaces.get(conn, SPACE)
    names = [build_generation(database, space, 1, settings.generations, recipe=options.recipe) for _ in range(2)]
    publish(database, space, names[0], settings.generations)
    with serving(settings) as (port, pid):
        process, load, memory_mb, started = psutil.Process(pid), Load(port, options.n), [], time.perf_counter()
        for swap in range(1, options.swaps + 1):
            publish(database, space, names[swap % 2], settings.generations)
            _wait_until_served(load, names[swap % 2])
            if swap % max(1, options.swaps // POINTS) == 0:
                memory_mb.append(round(process.memory_full_info().uss / 2**20, 1))
        seconds = time.perf_counter() - started
        load.close()
    second_half = memory_mb[len(memory_mb) // 2 :]
    slope = float(np.polyfit(np.arange(len(second_half)), second_half, 1)[0]) if len(second_half) > 1 else 0.0
    return {
        "swaps": options.swaps,
        "n": options.n,
        "requests": len(load.answers),
        "failed_requests": sum(name is None for _, _, name in load.answers),
        "seconds_per_swap": round(seconds / options.swaps, 3),
        "memory_mb": memory_mb,
        "late_growth_mb_per_100": round(slope * 100 / max(1, options.swaps // POINTS), 2),
    }


def _wait_until_served(load: Load, name: str) -> None:
    until = time.perf_counter() + WAIT_S
    while not any(found == name for _, _, found in load.answers[-8:]):
        if time.perf_counter() > until:
            raise SystemExit(f"soak_swaps: generation {name} was not served within {WAIT_S:g} s")
        time.sleep(0.005)


if __name__ == "__main__":
    main()
