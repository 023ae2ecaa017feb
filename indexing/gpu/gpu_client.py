"""GpuClientSearcher: sends the searches of a worker to the GPU process; the CPU twin answers when that cannot.

The CPU twin of every index stays in the worker. It answers while the GPU process loads a generation, and for a while
after the GPU process failed or did not answer in time.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from engine.latent_space.space import Metric
from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.searchers.mask_cache import MaskCache
from indexing.searchers.metric import MeasurableScorer, MeasurableSearcher
from indexing.searchers.search_strategy import record_strategy

log = structlog.get_logger()
RETRY_S = 1.0  # pause after the GPU process could not be reached or could not answer
ANSWER_S, QUERY_S = 2.0, 0.01  # time limit of an answer, and more per query; normally it takes milliseconds
HANG_S = 10.0  # pause after the time limit passed


@dataclass(eq=False)
class Cooldown:
    """A pause shared by the threads of a worker, during which they do not ask the GPU process."""

    until: float = 0.0

    def begin(self, why: str, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        log.warning("the CPU answers for the GPU", why=why)


@dataclass(frozen=True, eq=False)
class GpuClientSearcher:
    """Searches by the GPU process at `address`, or by the CPU twin. A search blocks until the GPU process answers."""

    address: str
    folder: Path
    label: str
    twin: MeasurableScorer
    _tokens: MaskCache[bytes] = field(default_factory=MaskCache)
    _state: threading.local = field(default_factory=threading.local)
    _cooldown: Cooldown = field(default_factory=Cooldown)

    @property
    def exact_reference(self) -> MeasurableSearcher:
        return self.twin.exact_reference

    @property
    def metric(self) -> Metric:
        return self.twin.metric

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        found = self._ask_server(queries, k, allowed)
        if found is None:
            return self.twin.search(queries, k, allowed)
        record_strategy("gpu")
        return found

    def _ask_server(self, queries: Matrix, k: int, allowed: Mask | None) -> Found | None:
        if time.monotonic() < self._cooldown.until:
            return None
        token = None if allowed is None else self._tokens.get(allowed, _mask_digest)
        try:
            answer = self._send((str(self.folder), self.label, queries, k, token, None))
            if answer[0] == "mask" and allowed is not None:
                bits = (np.packbits(allowed).tobytes(), len(allowed))
                answer = self._send((str(self.folder), self.label, queries, k, token, bits))
        except (OSError, EOFError) as error:
            self._disconnect()
            hangs = isinstance(error, TimeoutError | BlockingIOError)
            self._cooldown.begin(str(error) or "the GPU process closed the connection", HANG_S if hangs else RETRY_S)
            return None
        if answer[0] == "failed":
            self._cooldown.begin(answer[1], RETRY_S)
        return (answer[1], answer[2]) if answer[0] == "found" else None

    def _send(self, request: tuple[Any, ...]) -> tuple[Any, ...]:
        """TimeoutError, or BlockingIOError from a socket call, where the GPU process hangs."""
        connection = getattr(self._state, "connection", None)
        if connection is None:
            connection = self._state.connection = _connect(self.address)
        connection.send(request)
        within_s = ANSWER_S + QUERY_S * len(request[2])
        if not connection.poll(within_s):
            raise TimeoutError(f"the GPU process did not answer within {within_s:.1f} s")
        answer: tuple[Any, ...] = connection.recv()
        return answer

    def _disconnect(self) -> None:
        """Close the connection, because the late answer to this request would be taken for the answer to the next
        one."""
        connection = getattr(self._state, "connection", None)
        if connection is not None:
            connection.close()
        self._state.connection = None


def _connect(address: str) -> Connection:
    """Connect with a time limit of ANSWER_S for connecting and for each call; a hanging process does not accept."""
    timeout = struct.pack("ll", int(ANSWER_S), int(ANSWER_S % 1 * 1e6))
    with socket.socket(socket.AF_UNIX) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        made.connect(address)
        return Connection(made.detach())


def _mask_digest(allowed: Mask) -> bytes:
    return hashlib.blake2b(np.packbits(allowed).tobytes() + len(allowed).to_bytes(8, "little"), digest_size=16).digest()
