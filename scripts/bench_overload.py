"""A server at several times its capacity.

Measures the maximum rate on 16 connections, then half of that rate, then multiples of it from many connections, then
half again. `offered` is the rate that was really sent; it is lower when the load generator is at its limit. Requests
are sent at fixed times, independent of the server (open loop), and are `recommend` for users with live histories (see
bench_serve.py). A good result: accepted requests keep their latency, the others are rejected quickly with Retry-After,
and memory does not grow.

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

BASE_CONNECTIONS = 16  # to measure the maximum rate


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
    parser.add_argument(
        "--times", type=float, nargs="+", default=[4.0, 10.0], help="load as multiples of the maximum rate"
    )
    parser.add_argument("--connections", type=int, default=1000, help="connections during overload")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each measurement")
    return parser.parse_args()


def phases(settings: Settings, users: list[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    requests = [get(f"/v1/{SPACE}/recommend?user_id={user}&k={K}") for user in users]
    with server(settings, 1) as (port, process):
        maximum = measure(Load(port, requests, BASE_CONNECTIONS, options.seconds))
        yield row("most", maximum, None, process, options.seconds)
        for name, times in [("half", 0.5), *((f"{each:g} times", each) for each in options.times), ("half again", 0.5)]:
            rate, connections = maximum.rps * times, options.connections if times > 1 else 4 * BASE_CONNECTIONS
            found = measure(Load(port, requests, connections, options.seconds, rate))
            yield row(name, found, rate, process, options.seconds)


def row(name: str, found: Figures, rate: float | None, process: psutil.Process, seconds: float) -> dict[str, Any]:
    refused = {str(status): n for status, n in sorted(found.statuses.items()) if status != 200}
    offered = sum(found.statuses.values()) / seconds
    without_retry = sum(refused.values()) - found.with_retry_after
    rss_mb = process.memory_info().rss / 2**20
    tell(
        f"{name:<11} asked {f'{rate:.0f}/s' if rate else 'all':>7}  offered {offered:6.0f}/s  "
        f"answered {found.rps:6.0f}/s  "
        f"p50 {found.p50_ms:7.2f} ms  p99 {found.p99_ms:7.2f} ms  refused {refused or 'none'} "
        f"p99 {found.refused_p99_ms:.1f} ms, {without_retry} without Retry-After  {rss_mb:.0f} MB  "
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
        "without_retry_after": without_retry,
        "rss_mb": round(rss_mb, 1),
    }


if __name__ == "__main__":
    main()
