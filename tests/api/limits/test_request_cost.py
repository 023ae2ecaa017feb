"""The work limit of reads: a read key cannot overload the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from api import request_parsing
from api.merchandising import shelf_batch
from api.server import bound, running
from engine.store.database.connections import Database
from tests.api.conftest import Shop


@pytest.fixture(scope="module")
def cheap(shop: Shop, database: Database) -> Iterator[str]:
    """A server that spends a thousandth of the usual on a read, over 40 items."""
    settings = shop.settings.model_copy(update={"max_work": 2_000_000})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"


def texts(n: int, of: str = "") -> dict[str, object]:
    return {"or": [{"title": {"contains": f"{of} {at}"}} for at in range(n)]}


PAGE = [{"user_id": "odd-user-1", "k": 3}, {"k": 3, "filter": texts(3)}, {"k": 3, "fill": "new"}]
BOOST = [{"filter": texts(100), "factor": 2.0}]


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/recommend/batch", {"shelves": [{"k": 3, "filter": texts(100, f"{at}")} for at in range(20)]}, "shelves"),
        (
            "/recommend/batch",
            {"shelves": [{"k": 3, "boost": [{"filter": texts(100, f"{n}"), "factor": 2.0}]} for n in range(20)]},
            "shelves",
        ),
        ("/recommend/batch", {"shelves": [{"k": 1000}] * 20}, "shelves"),
        ("/recommend", {"boost": [{"filter": texts(100, f"{at}"), "factor": 2} for at in range(3)]}, "filter"),
        ("/rank", {"item_ids": ["odd-01"], "boost": BOOST * 3}, "filter"),
        ("/search", {"item_id": "odd-01", "filter": texts(100)}, "filter"),
    ],
    ids=["filters", "boosts", "items", "boosts of one", "rank", "search"],
)
def test_a_read_over_the_work_limit_is_rejected_with_its_cost(
    shop: Shop, database: Database, cheap: str, path: str, body: dict[str, object], place: str
) -> None:
    if path != "/recommend/batch":  # of one the filter is 100 conditions at most
        settings = shop.settings.model_copy(update={"max_work": 200_000})
        with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/{shop.space.name}"
            answer = httpx.post(url + path, json=body, timeout=30)
    else:
        answer = httpx.post(cheap + path, json=body, timeout=30)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"][-1] == place
    assert "s of a core" in answer.json()["detail"]
    assert "NEARFIELD_MAX_WORK" in answer.json()["detail"]
    assert shop.post(path, body).status_code == 200  # as the limit is by default


def test_a_page_costs_little(cheap: str) -> None:
    assert httpx.post(cheap + "/recommend/batch", json={"shelves": PAGE}, timeout=30).status_code == 200


def test_batches_run_in_their_own_threads(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    threads, recommend_all = list[str](), shelf_batch.recommend

    def watched(*given: object, **options: object) -> object:
        threads.append(threading.current_thread().name.rsplit("_", 1)[0])
        return recommend_all(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(shelf_batch, "recommend", watched)
    assert shop.post("/recommend/batch", {"shelves": PAGE}).status_code == 200
    assert threads == ["nearfield-long-reader"]


def test_a_page_ends_at_its_deadline(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, let = threading.Event(), threading.Event()
    looked, parse = list[object](), request_parsing.parse_filter

    def slow(*given: object, **options: object) -> object:
        looked.append(given)
        begun.set()
        let.wait(20)
        return parse(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(request_parsing, "parse_filter", slow)
    answer = shop.post("/recommend/batch", {"shelves": PAGE * 100, "deadline_ms": 200})
    assert answer.status_code == 503
    assert begun.is_set()
    let.set()
    monkeypatch.undo()
    assert shop.post("/recommend/batch", {"shelves": PAGE}).status_code == 200
    assert len(looked) == 1  # of 300: the rest was not begun
