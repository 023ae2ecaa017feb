"""Owner: the one process that holds a GPU. Workers send it their searches; it batches those that come together.

A worker keeps the CPU twin of every index: it answers while the owner loads, and whenever the owner cannot.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import tempfile
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from engine.errors import Conflict, NearfieldError
from engine.latent_space.space import Metric
from engine.recommending.values.searcher import Found, Mask
from engine.values.vectors import Matrix
from indexing.gpu.batching import Closed
from indexing.gpu.resident_generations import FORGET_S, Held, Load
from indexing.searchers.mask_cache import MaskCache
from indexing.searchers.metric import MeasurableScorer, MeasurableSearcher
from indexing.searchers.search_strategy import record_strategy

log = structlog.get_logger()
MASKS = 64
BACKLOG = 128  # threads of workers that connect at the same time
PAUSE_S = 0.5  # after a connection could not be taken
RETRY_S = 1.0  # after the owner could not be reached, or could not answer
ANSWER_S, QUERY_S = 2.0, 0.01  # that an owner may take, more for each query; it needs milliseconds
HANG_S = 10.0  # after it took longer


def address(home: Path, device: str) -> str:
    """Where the owner of a device listens for the servers of a home: a socket that only this user can open."""
    folder = Path(tempfile.gettempdir()) / f"nearfield-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise Conflict(f"{folder} belongs to another user; remove it")
    name = hashlib.sha256(f"{home.absolute()} {device}".encode()).hexdigest()[:16]
    return str(folder / f"{name}.sock")


class Owner:
    """Answers on `where` until closed; a generation is loaded when it is first asked for."""

    def __init__(self, where: str, load: Load, forget_s: float = FORGET_S):
        self._held = Held(load, forget_s)
        self._masks: OrderedDict[bytes, Mask] = OrderedDict()
        self._lock, self._closed = threading.Lock(), threading.Event()
        with suppress(FileNotFoundError):
            os.unlink(where)
        self._listener = Listener(where, family="AF_UNIX", backlog=BACKLOG)

    def run(self) -> None:
        """Serve every connection by a thread of its own, until `close`."""
        while True:
            try:
                connection = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()
            except (OSError, RuntimeError) as error:  # no file or thread is left: it goes on once there is
                if self._closed.is_set():
                    return
                log.warning("a connection was not taken", error=str(error))
                self._closed.wait(PAUSE_S)

    def close(self) -> None:
        self._closed.set()
        self._listener.close()

    def _serve(self, connection: Connection) -> None:
        with suppress(EOFError, OSError), connection:
            while True:
                connection.send(self._answer(connection.recv()))

    def _answer(self, asked: tuple[Any, ...]) -> tuple[Any, ...]:
        """("found", scores, rows), ("loading",), ("mask",) where the mask must be sent along, or ("failed", why)."""
        folder, label, queries, k, token, bits = asked
        try:
            batchers = self._held.get(Path(folder))
            if batchers is None:
                return ("loading",)
            if token is None:
                return ("found", *batchers[label].search(queries, k))
            allowed = self._mask(token, bits)
            return ("mask",) if allowed is None else ("found", *batchers[label].search(queries, k, allowed))
        except Closed:  # others came between
            return ("loading",)
        except NearfieldError as error:
            return ("failed", str(error))
        except Exception as error:
            return ("failed", f"{type(error).__name__}: {error}")

    def _mask(self, token: bytes, bits: tuple[bytes, int] | None) -> Mask | None:
        with self._lock:
            if token in self._masks:
                self._masks.move_to_end(token)
                return self._masks[token]
            if bits is None:
                return None
            packed, n_rows = bits
            made = np.unpackbits(np.frombuffer(packed, np.uint8), count=n_rows).astype(bool)
            made.flags.writeable = False
            self._masks[token] = made
            while len(self._masks) > MASKS:
                self._masks.popitem(last=False)
            return made


@dataclass(eq=False)
class Pause:
    """Until when the threads of a worker leave the owner alone."""

    until: float = 0.0

    def begin(self, why: str, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        log.warning("the CPU answers for the GPU", why=why)


@dataclass(frozen=True, eq=False)
class OwnedSearcher:
    """A searcher of a worker: the owner answers, or the CPU twin when it does not. A search waits for the owner."""

    where: str
    folder: Path
    label: str
    twin: MeasurableScorer
    _tokens: MaskCache[bytes] = field(default_factory=MaskCache)
    _state: threading.local = field(default_factory=threading.local)
    _pause: Pause = field(default_factory=Pause)

    @property
    def exact_reference(self) -> MeasurableSearcher:
        return self.twin.exact_reference

    @property
    def metric(self) -> Metric:
        return self.twin.metric

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        found = self._owned(queries, k, allowed)
        if found is None:
            return self.twin.search(queries, k, allowed)
        record_strategy("gpu")
        return found

    def _owned(self, queries: Matrix, k: int, allowed: Mask | None) -> Found | None:
        if time.monotonic() < self._pause.until:
            return None
        token = None if allowed is None else self._tokens.get(allowed, _token)
        try:
            answer = self._ask((str(self.folder), self.label, queries, k, token, None))
            if answer[0] == "mask" and allowed is not None:
                bits = (np.packbits(allowed).tobytes(), len(allowed))
                answer = self._ask((str(self.folder), self.label, queries, k, token, bits))
        except (OSError, EOFError) as error:
            self._disconnect()
            hangs = isinstance(error, TimeoutError | BlockingIOError)
            self._pause.begin(str(error) or "the owner went away", HANG_S if hangs else RETRY_S)
            return None
        if answer[0] == "failed":
            self._pause.begin(answer[1], RETRY_S)
        return (answer[1], answer[2]) if answer[0] == "found" else None

    def _ask(self, asked: tuple[Any, ...]) -> tuple[Any, ...]:
        """TimeoutError, or BlockingIOError from within a call, where the owner hangs."""
        connection = getattr(self._state, "connection", None)
        if connection is None:
            connection = self._state.connection = _connected(self.where)
        connection.send(asked)
        within_s = ANSWER_S + QUERY_S * len(asked[2])
        if not connection.poll(within_s):
            raise TimeoutError(f"the owner did not answer within {within_s:.1f} s")
        answer: tuple[Any, ...] = connection.recv()
        return answer

    def _disconnect(self) -> None:
        """The answer to what was asked may still come, so that nothing else may be asked on this connection."""
        connection = getattr(self._state, "connection", None)
        if connection is not None:
            connection.close()
        self._state.connection = None


def _connected(where: str) -> Connection:
    """No call on it blocks for longer than ANSWER_S, nor does connecting: a process that hangs does not accept."""
    timeout = struct.pack("ll", int(ANSWER_S), int(ANSWER_S % 1 * 1e6))
    with socket.socket(socket.AF_UNIX) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        made.connect(where)
        return Connection(made.detach())


def _token(allowed: Mask) -> bytes:
    return hashlib.blake2b(np.packbits(allowed).tobytes() + len(allowed).to_bytes(8, "little"), digest_size=16).digest()
