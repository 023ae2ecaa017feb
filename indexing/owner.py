"""Owner: the one process that holds a GPU. Workers send it their searches; it batches those that come together.

A worker keeps the CPU twin of every index: it answers while the owner loads, and whenever the owner cannot.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from engine.errors import Conflict, NearfieldError
from engine.recommend import Found, Mask
from engine.vectors import Matrix
from indexing.batching import Closed
from indexing.held import FORGET_S, Held, Load
from indexing.metric import MeasuredSearcher
from indexing.remembered import Remembered
from indexing.strategy import went

log = structlog.get_logger()
MASKS = 64
RETRY_S = 1.0  # after the owner could not be reached


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
        self._lock = threading.Lock()
        with suppress(FileNotFoundError):
            os.unlink(where)
        self._listener = Listener(where, family="AF_UNIX")

    def run(self) -> None:
        """Serve every connection by a thread of its own, until `close`."""
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def close(self) -> None:
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


@dataclass(frozen=True, eq=False)
class OwnedSearcher:
    """A searcher of a worker: the owner answers, or the CPU twin when it does not."""

    where: str
    folder: Path
    label: str
    twin: MeasuredSearcher
    _tokens: Remembered[bytes] = field(default_factory=Remembered)
    _state: threading.local = field(default_factory=threading.local)

    @property
    def exactly(self) -> MeasuredSearcher:
        return self.twin.exactly

    def search(self, queries: Matrix, k: int, allowed: Mask | None = None) -> Found:
        found = self._owned(queries, k, allowed)
        if found is None:
            return self.twin.search(queries, k, allowed)
        went("gpu")
        return found

    def _owned(self, queries: Matrix, k: int, allowed: Mask | None) -> Found | None:
        if time.monotonic() < getattr(self._state, "not_before", 0.0):
            return None
        token = None if allowed is None else self._tokens.get(allowed, _token)
        try:
            answer = self._ask((str(self.folder), self.label, queries, k, token, None))
            if answer[0] == "mask" and allowed is not None:
                bits = (np.packbits(allowed).tobytes(), len(allowed))
                answer = self._ask((str(self.folder), self.label, queries, k, token, bits))
        except (OSError, EOFError) as error:
            self._state.connection = None
            self._pause(str(error))
            return None
        if answer[0] == "failed":
            self._pause(answer[1])
        return (answer[1], answer[2]) if answer[0] == "found" else None

    def _ask(self, asked: tuple[Any, ...]) -> tuple[Any, ...]:
        connection = getattr(self._state, "connection", None)
        if connection is None:
            connection = self._state.connection = Client(self.where, family="AF_UNIX")
        connection.send(asked)
        answer: tuple[Any, ...] = connection.recv()
        return answer

    def _pause(self, why: str) -> None:
        self._state.not_before = time.monotonic() + RETRY_S
        log.warning("the CPU answers for the GPU", why=why)


def _token(allowed: Mask) -> bytes:
    return hashlib.blake2b(np.packbits(allowed).tobytes() + len(allowed).to_bytes(8, "little"), digest_size=16).digest()
