"""nearfield demo: a generated storefront, from an empty database to recommendations over HTTP."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import orjson
import typer

from api.cli.learn.evaluation_tables import print_evaluation
from api.cli.terminal.options import settings
from api.cli.terminal.output import out, progress, table
from engine.importing import import_events, import_items
from engine.settings import Settings
from engine.store import api_keys, spaces
from engine.store.database.connections import Database, open_database
from engine.store.spaces import Space
from engine.storefront import generate
from engine.values.events import EventColumns

SPACE = "demo"


def add_to(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop after the three calls.")] = False,
    port: Annotated[int, typer.Option(help="Port of the server; 0 takes a free one.")] = 8000,
) -> None:
    """Generate a storefront, learn from it and serve it.

    Everything is in the space `demo`, which is replaced if it exists. Prints an API key and three HTTP calls with their
    answers, and keeps serving until Ctrl-C.

    Example: `nearfield demo --once`
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    from api.server import bound, running

    found = settings()
    started = time.perf_counter()
    with bound("127.0.0.1", port) as listener, open_database(found) as database:
        space, customer, item = _fill(database)
        _learn(found, database, space)
        key = _key(database)
        with running(found, database, listener) as server:
            calls = Calls(f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{SPACE}", key)
            out.print(f"\nserving after {time.perf_counter() - started:.1f} s; the key of this demo is")
            out.print(key, style="bold", soft_wrap=True)
            calls.show(customer, item)
            if once:
                return
            out.print("\nCtrl-C stops the server; documentation is at /docs", markup=False)
            server.join()


def _fill(database: Database) -> tuple[Space, str, str]:
    """Makes the space `demo` anew; the space, and a user and an item for the calls."""
    out.print("generating a storefront", style="dim")
    front = generate(until=datetime.now(UTC))
    with database.begin() as conn:
        if any(space.name == SPACE for space in spaces.list_all(conn)):
            spaces.delete(conn, SPACE)
        space = spaces.ensure(conn, SPACE)
    with tempfile.TemporaryDirectory() as folder, progress() as report:
        item_file, event_file = front.write(Path(folder))
        catalogue = import_items(database, SPACE, item_file, progress=report)
        summary = import_events(database, SPACE, event_file, progress=report)
    out.print(f"imported {catalogue.written:,} items and {summary.written:,} events in {summary.seconds:.1f} s")
    return space, *_example(front.events)


def _example(events: EventColumns) -> tuple[str, str]:
    """The user with the most events and the item with the most purchases."""
    purchases = events.item_rows[events.kind_codes == events.kinds.index("purchase")]
    user, item = np.bincount(events.user_rows).argmax(), np.bincount(purchases).argmax()
    return events.user_ids[user], events.item_ids[item]


def _learn(found: Settings, database: Database, space: Space) -> None:
    from engine.embedders.registry import make
    from indexing.building.reindex import check_publishable, reindex

    with progress() as report:
        done = reindex(database, space, make("spectral"), found.generations, progress=report)
    check_publishable(done.record)
    out.print(f"learnt in {done.fit_seconds:.1f} s, indexed and published in {done.index_seconds:.1f} s")
    print_evaluation(done.record.evaluation, done.record.embedder)


def _key(database: Database) -> str:
    """A new key; the keys of earlier demos are revoked."""
    with database.begin() as conn:
        for record in api_keys.list_all(conn):
            if record.label == "demo" and record.revoked_at is None:
                api_keys.revoke(conn, record.key_id)
        text, _ = api_keys.create(conn, scope="write", space=SPACE, label="demo")
    return text


class Calls:
    """Three calls that a storefront makes: prints each as a curl command, and its answer as a table."""

    def __init__(self, url: str, key: str):
        self._url, self._key = url, key

    def show(self, customer: str, item: str) -> None:
        self._call("1. for a known customer", "GET", f"/recommend?user_id={customer}&k=5")
        self._call("2. more like one item", "GET", f"/items/{item}/similar?k=5")
        visitor = orjson.dumps({"history": [{"item_id": item, "kind": "cart"}], "k": 5}).decode()
        self._call("3. for an unknown visitor who put that item in the cart", "POST", "/recommend", visitor)

    def _call(self, title: str, method: str, path: str, body: str | None = None) -> None:
        data = f" -H 'Content-Type: application/json' -d '{body}'" if body else ""
        out.print(f"\n{title}", style="bold", markup=False)
        line = f"curl -H 'Authorization: Bearer {self._key}'{data} '{self._url}{path}'"
        out.print(line, style="cyan", markup=False, soft_wrap=True)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        response = httpx.request(method, self._url + path, content=body, headers=headers, timeout=30)
        response.raise_for_status()
        table(("item", "title", "price", "score", "reason"), [_row(each) for each in response.json()["items"]])


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    fields = item["fields"]
    return item["item_id"], fields["title"], f"{fields['price']:.2f}", item["score"], item["reason"]
