"""The examples run as written, against a server with the generated storefront."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from api.server import bound, running
from engine.embedders.registry import make
from engine.importing import import_events, import_items
from engine.settings import Settings
from engine.store import spaces
from engine.store.database.connections import Database
from engine.storefront import generate
from indexing.building.reindex import reindex

EXAMPLE = Path(__file__).parent.parent / "examples" / "storefront_pages.py"
SPACE = "test-examples"


@pytest.fixture(scope="module")
def url(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("examples")
    front = generate(n_items=400, n_users=300, until=datetime.now(UTC))
    with database.begin() as conn:
        space = spaces.ensure(conn, SPACE)
    items, events = front.write(folder)
    import_items(database, SPACE, items)
    import_events(database, SPACE, events)
    settings = Settings(home=folder, poll_s=0.2)
    reindex(database, space, make("spectral", {"dim": 16}), settings.generations, force=True)
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{SPACE}"
    with database.begin() as conn:
        spaces.delete(conn, SPACE)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("storefront_pages", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def visitor(url: str) -> tuple[str, str]:
    """A user with a history, and the item that the user viewed last."""
    user = "customer-00007"
    viewed = [each["item_id"] for each in httpx.get(f"{url}/users/{user}/export").json()["events"]]
    return user, viewed[-1]


def test_each_page_is_one_call_and_shows_no_item_twice(url: str, example: ModuleType, visitor: tuple[str, str]) -> None:
    user, item = visitor
    calls: list[str] = []
    with httpx.Client(base_url=url, timeout=30) as shop:
        example.put_pages(shop)
        shop.event_hooks["request"].append(lambda request: calls.append(request.url.path))
        home = example.home_page(shop, user)
        product = example.product_page(shop, user, item)
        assert calls == [f"/v1/{SPACE}/page"] * 2
        for shown, names in ((home, example.PAGES["home"]), (product, example.PAGES["product"])):
            assert [shelf["name"] for shelf in shown["shelves"]] == [shelf["name"] for shelf in names["shelves"]]
            ids = [each["item_id"] for shelf in shown["shelves"] for each in shelf["items"]]
            assert len(ids) == len(set(ids))
            assert all(
                len(shelf["items"]) == asked["k"]
                for shelf, asked in zip(shown["shelves"], names["shelves"], strict=True)
            )
        assert item not in {each["item_id"] for shelf in product["shelves"] for each in shelf["items"]}
        bargains = next(shelf for shelf in home["shelves"] if shelf["name"] == "bargains")
        assert all(each["fields"]["price"] < 25 for each in bargains["items"])
        asked = {"page": "home", "user_id": user}
        [also] = example.more(shop, asked, home, "for-you")["shelves"]
        shown_before = {each["item_id"] for shelf in home["shelves"] for each in shelf["items"]}
        assert also["items"]
        assert not shown_before & {each["item_id"] for each in also["items"]}


def test_the_program_prints_both_pages(url: str, visitor: tuple[str, str]) -> None:
    user, item = visitor
    command = [sys.executable, str(EXAMPLE), "--url", url, "--user", user, "--item", item]
    for _ in range(2):  # the pages are stored already at the second time
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        for text in (f"home page of {user}", "For you", "Because you viewed", "Under 25", f"product page of {item}"):
            assert text in done.stdout
