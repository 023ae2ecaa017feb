"""A server that encodes records, for bench_features.py to measure its throughput."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt

from api.server import bound, running
from engine.importing import import_features
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import open_database
from indexing.building.reindex_features import reindex_features

TRAINING_ROWS, ROWS, ROUNDS, TIMEOUT_S = 500, 1000, 10, 30
Measure = Callable[[str, int], float]


@contextmanager
def encoding_server(pixels: npt.NDArray[np.uint8]) -> Iterator[Measure]:
    """Yields a function of an embedder and a dimension: rows per second of POST /encode, the best of ten requests.

    `pixels` is (n, width); a request has 1,000 rows. The models learn from 500 rows for one epoch, because only their
    size decides the speed.
    """
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), poll_s=0.2)
        file = Path(home) / "images.npy"
        np.save(file, pixels[:TRAINING_ROWS])
        body = json.dumps({"values": pixels[:ROWS].tolist()}).encode()
        with (
            open_database(settings) as database,
            bound("127.0.0.1", 0) as listener,
            running(settings, database, listener),
        ):

            def measure(embedder: str, dim: int) -> float:
                name = f"{embedder}-{dim}"
                import_features(database, name, file)
                with database.connect() as conn:
                    space = spaces.get(conn, name)
                params = {"dim": dim} | ({} if embedder == "pca" else {"epochs": 1})
                reindex_features(database, space, embedder, settings.generations, params, keep_constant=True)
                url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{name}/encode"
                return ROWS / _fastest(url, body)

            yield measure


def _fastest(url: str, body: bytes) -> float:
    """Seconds of the fastest of ROUNDS requests; waits until the model is served."""
    seconds, deadline = [], time.monotonic() + TIMEOUT_S
    with httpx.Client(headers={"Content-Type": "application/json"}, timeout=60) as client:
        while len(seconds) < ROUNDS:
            started = time.perf_counter()
            response = client.post(url, content=body)
            if response.status_code == httpx.codes.OK:
                seconds.append(time.perf_counter() - started)
            elif time.monotonic() > deadline:
                raise SystemExit(f"bench_features: {url} answers {response.status_code}: {response.text[:200]}")
            else:
                time.sleep(0.2)  # the server has not seen the new model yet
    return min(seconds)
