"""GpuServer: answers the searches of all workers in the one process that uses the GPU.

It listens on a Unix socket, loads a generation when it is first asked for, and batches concurrent searches.
`gpu_client` is the other side of the connection; `gpu_process` starts and stops the process.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from contextlib import suppress
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from engine.errors import Conflict, NearfieldError
from engine.recommending.values.searcher import Mask
from indexing.gpu.batching import BatcherClosed
from indexing.gpu.resident_generations import FORGET_S, Load, ResidentGenerations

log = structlog.get_logger()
MAX_MASKS = 64
BACKLOG = 128  # threads of workers that may connect at the same time
PAUSE_S = 0.5  # after a connection could not be accepted


def address(home: Path, device: str) -> str:
    """The path of the socket on which the process for `device` listens; only this user can open it."""
    folder = Path(tempfile.gettempdir()) / f"nearfield-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise Conflict(f"{folder} belongs to another user; remove it")
    name = hashlib.sha256(f"{home.absolute()} {device}".encode()).hexdigest()[:16]
    return str(folder / f"{name}.sock")


class GpuServer:
    """Answers on the socket `address` until closed."""

    def __init__(self, address: str, load: Load, forget_s: float = FORGET_S):
        self._generations = ResidentGenerations(load, forget_s)
        self._masks: OrderedDict[bytes, Mask] = OrderedDict()
        self._lock, self._closed = threading.Lock(), threading.Event()
        with suppress(FileNotFoundError):
            os.unlink(address)
        self._listener = Listener(address, family="AF_UNIX", backlog=BACKLOG)

    def run(self) -> None:
        """Serve each connection in its own thread, until `close`."""
        while True:
            try:
                connection = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()
            except (OSError, RuntimeError) as error:  # out of file descriptors or threads: retry later
                if self._closed.is_set():
                    return
                log.warning("a connection was not accepted", error=str(error))
                self._closed.wait(PAUSE_S)

    def close(self) -> None:
        self._closed.set()
        self._listener.close()

    def _serve(self, connection: Connection) -> None:
        with suppress(EOFError, OSError), connection:
            while True:
                connection.send(self._answer(connection.recv()))

    def _answer(self, request: tuple[Any, ...]) -> tuple[Any, ...]:
        """("found", scores, rows); ("loading",); ("mask",): send the request again with the mask; or ("failed",
        reason)."""
        folder, label, queries, k, token, bits = request
        try:
            batchers = self._generations.get(Path(folder))
            if batchers is None:
                return ("loading",)
            if token is None:
                return ("found", *batchers[label].search(queries, k))
            allowed = self._mask(token, bits)
            return ("mask",) if allowed is None else ("found", *batchers[label].search(queries, k, allowed))
        except BatcherClosed:  # this generation was unloaded meanwhile
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
            while len(self._masks) > MAX_MASKS:
                self._masks.popitem(last=False)
            return made
