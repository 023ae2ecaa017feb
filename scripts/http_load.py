"""The load generator of bench_serve.py and bench_overload.py: a process with keep-alive connections.

A connection has one request in flight. Without a rate, the next request is sent when the previous one is answered
(closed loop). With a rate, in requests per second over all connections, each request is due at a random moment, and its
latency counts from that moment (open loop): a server that stalls cannot hide it by slowing the load.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import uvloop


@dataclass(frozen=True)
class Load:
    port: int
    requests: list[bytes]
    connections: int
    seconds: float
    rate: float | None = None
    warm_s: float = 1.0  # warm-up: requests sent before this are not counted


@dataclass(frozen=True)
class Figures:
    rps: float  # answers with status 200; the latencies below are of these too
    p50_ms: float
    p99_ms: float
    errors: int  # answers other than 200, and connections that broke
    client_share: float  # share of the time that this process was busy; near 1, the load generator was the bottleneck
    statuses: dict[int, int] = field(default_factory=dict)  # status -> number of answers
    refused_p99_ms: float = float("nan")  # p99 of answers other than 200
    with_retry_after: int = 0  # answers other than 200 that had a Retry-After header


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def measure(load: Load) -> Figures:
    """The figures of a server under `load`, which a process of its own sends."""
    command = [sys.executable, "-c", "import http_load; http_load.run_from_stdin()"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, input=pickle.dumps(load), stdout=subprocess.PIPE, check=True
    )
    return cast(Figures, pickle.loads(done.stdout))


def run_from_stdin() -> None:
    """Reads a pickled Load from stdin, runs it and writes its pickled Figures to stdout."""
    gc.disable()
    sys.stdout.buffer.write(pickle.dumps(uvloop.run(_run(pickle.load(sys.stdin.buffer)))))


@dataclass(eq=False)
class _Client(asyncio.Protocol):
    """One connection. `due` is the moment at which its request was due."""

    state: _State
    buffer: bytes = b""
    due: float = 0.0
    transport: asyncio.WriteTransport | None = field(default=None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)  # uvloop's own class

    def send(self, due: float) -> None:
        assert self.transport is not None
        self.due = due
        self.transport.write(self.state.next_request())

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.buffer.lower().find(b"content-length:", 0, end)
        length = int(self.buffer[at + 15 : self.buffer.find(b"\r\n", at)])
        if len(self.buffer) >= end + 4 + length:
            status, has_retry_after = int(self.buffer[9:12]), self.buffer.lower().find(b"retry-after:", 0, end) >= 0
            self.buffer = b""
            self.state.answered(self, status, has_retry_after)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.state.over:
            self.state.errors += 1


class _State:
    def __init__(self, load: Load):
        self.load = load
        self.latencies: dict[int, list[float]] = {200: []}  # by status
        self.errors, self.sent, self.with_retry_after, self.over = 0, 0, 0, False
        self.begin = time.perf_counter() + load.warm_s
        self.idle: deque[_Client] = deque()
        self.waiting: deque[float] = deque()

    def next_request(self) -> bytes:
        self.sent += 1
        return self.load.requests[self.sent % len(self.load.requests)]

    def answered(self, client: _Client, status: int, has_retry_after: bool) -> None:
        now = time.perf_counter()
        if client.due >= self.begin:
            self.latencies.setdefault(status, []).append(now - client.due)
            self.errors += status != 200
            self.with_retry_after += has_retry_after
        if self.over:
            return
        if self.load.rate is None:
            client.send(now)
        elif self.waiting:
            client.send(self.waiting.popleft())
        else:
            self.idle.append(client)

    def due(self, moment: float) -> None:
        if self.idle:
            self.idle.popleft().send(moment)
        else:
            self.waiting.append(moment)


async def _run(load: Load) -> Figures:
    state, loop = _State(load), asyncio.get_running_loop()
    clients = []
    for _ in range(load.connections):
        _, client = await loop.create_connection(lambda: _Client(state), "127.0.0.1", load.port)
        clients.append(client)
    began, cpu = time.perf_counter(), time.process_time()
    if load.rate is None:
        for client in clients:
            client.send(time.perf_counter())
        await asyncio.sleep(load.warm_s + load.seconds)
    else:
        state.idle.extend(clients)
        await _pace(state, load.rate)
    state.over = True
    elapsed, busy = time.perf_counter() - began, time.process_time() - cpu
    for client in clients:
        assert client.transport is not None
        client.transport.close()
    refused = [each for status, latencies in state.latencies.items() if status != 200 for each in latencies]
    return Figures(
        len(state.latencies[200]) / load.seconds,
        _percentile(state.latencies[200], 50),
        _percentile(state.latencies[200], 99),
        state.errors,
        busy / elapsed,
        {status: len(latencies) for status, latencies in state.latencies.items()},
        _percentile(refused, 99),
        state.with_retry_after,
    )


def _percentile(seconds: list[float], share: int) -> float:
    return float(np.percentile(np.array(seconds or [np.nan]) * 1e3, share))


async def _pace(state: _State, rate: float) -> None:
    """Makes requests due at random moments, `rate` per second on average (a Poisson process, as of many visitors)."""
    draw = np.random.default_rng(0)
    due = time.perf_counter()
    end = state.begin + state.load.seconds
    while due < end:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        state.due(due)
        due += float(draw.exponential(1 / rate))
