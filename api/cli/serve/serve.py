"""nearfield serve: the HTTP server."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from api.cli.terminal.options import settings
from api.cli.terminal.output import err


def add_to(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Any address beyond loopback needs a key: `nearfield keys create`."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(help="Worker processes. They share the index through memory mapping.")] = 1,
    device: Annotated[
        str | None,
        typer.Option(
            help="Device to search on: cpu, cuda or cuda:1. Default: NEARFIELD_DEVICE, or else cpu.", show_default=False
        ),
    ] = None,
) -> None:
    """Answer HTTP requests until Ctrl-C or SIGTERM.

    The server needs no index to start: until `nearfield reindex` publishes one, it answers with popular items. It
    prints its address; `/docs` there documents the HTTP API. `NEARFIELD_*` settings bound requests, bodies and queues.

    Example: `nearfield serve --port 8080 --workers 4`
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # one core per request: requests run in parallel
        os.environ.setdefault(name, "1")
    from api import server

    def announce(port: int) -> None:
        err.print(f"nearfield on http://{host}:{port}, documentation at /docs")

    found = settings()
    if device is not None:
        found = found.model_copy(update={"device": device})
    server.serve(found, host, port, workers, announce)
