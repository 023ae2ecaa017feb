"""What does a server do at several times its capacity?

First the most it can answer on 16 connections, then half of that rate, then several times it from many connections, and
half again; `offered` is what was really sent of that, which is less where the load generator is at its own limit.
Requests become due at their own moments, whatever the server does, and are `recommend` for users with live histories
(see bench_serve.py). What counts: that the answered ones keep their time, that the others are refused quickly and told
when to come back, and that memory does not grow.

    python scripts/bench_overload.py [--items 100000] [--times 4 10] [--connections 1000] [--seconds 10] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from bench_serve import SPACE, K, add_shop, fill, server, tell
from http_load import Figures, Load, get, measure

from engine.errors import NearfieldError
from engine.settings import Settings
from engine.store.database.connections import open_database

FEW = 16  # connections for the most that can be answered


def main() -> None:
    options = arguments()
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(home=Path(folder) / "home")
            with open_database(settings) as database:
                users, _ = fill(database, settings, options)
            rows = list(phases(settings, users, options))
    except NearfieldError as error:
        raise SystemExit(f"bench_overload: {error}") from None
    if options.json:
        for row in rows:
            print(json.dumps(row))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shop(parser)
    parser.add_argument("--times", type=float, nargs="+", default=[4.0, 10.0], help="of the most that it can answer")
    parser.add_argument("--connections", type=int, default=1000, help="of the overload")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    return parser.parse_args()


def phases(settings: Settings, users: list[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    requests = [get(f"/v1/{SPACE}/recommend?user_id={user}&k={K}") for user in users]
    with server(settings, 1) as (port, process):
        most = measure(Load(port, requests, FEW, options.seconds))
        yield row("most", most, None, process, options.seconds)
        for name, times in [("half", 0.5), *((f"{each:g} times", each) for each in options.times), ("half again", 0.5)]:
            rate, connections = most.rps * times, options.connections if times > 1 else 4 * FEW
            found = measure(Load(port, requests, connections, options.seconds, rate))
            yield row(name, found, rate, process, options.seconds)


def row(name: str, found: Figures, rate: float | None, process: psutil.Process, seconds: float) -> dict[str, Any]:
    refused = {str(status): n for status, n in sorted(found.statuses.items()) if status != 200}
    offered = sum(found.statuses.values()) / seconds
    untold = sum(refused.values()) - found.with_retry_after
    rss_mb = process.memory_info().rss / 2**20
    tell(
        f"{name:<11} asked {f'{rate:.0f}/s' if rate else 'all':>7}  offered {offered:6.0f}/s  "
        f"answered {found.rps:6.0f}/s  "
        f"p50 {found.p50_ms:7.2f} ms  p99 {found.p99_ms:7.2f} ms  refused {refused or 'none'} "
        f"p99 {found.refused_p99_ms:.1f} ms, {untold} without Retry-After  {rss_mb:.0f} MB  "
        f"load generator busy {found.client_share:.0%}"
    )
    return {
        "load": name,
        "rate": None if rate is None else round(rate, 1),
        "offered": round(offered, 1),
        "rps": round(found.rps, 1),
        "p50_ms": round(found.p50_ms, 3),
        "p99_ms": round(found.p99_ms, 3),
        "refused": refused,
        "refused_p99_ms": round(found.refused_p99_ms, 3) if refused else None,
        "without_retry_after": untold,
        "rss_mb": round(rss_mb, 1),
    }


if __name__ == "__main__":
    main()
