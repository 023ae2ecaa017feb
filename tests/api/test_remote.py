"""The command line as a client of a running server."""

from __future__ import annotations

import json
import subprocess

from tests.api.cli.conftest import Shell
from tests.api.conftest import Shop


def nearfield(shop: Shop, *arguments: str) -> subprocess.CompletedProcess[str]:
    return Shell(shop.settings.home, shop.settings).run(*arguments, "--space", shop.space.name)


def test_recommend_and_search_ask_a_running_server(shop: Shop) -> None:
    url = shop.url.rsplit("/v1/", 1)[0]
    done = nearfield(shop, "recommend", "--user", "odd-user-3", "--k", "3", "--url", url, "--json")
    items = json.loads(done.stdout.splitlines()[-1])["items"]
    assert [item["item_id"].split("-")[0] for item in items] == ["odd"] * 3
    done = nearfield(shop, "search", "--item", "even-01", "--k", "2", "--url", url)
    assert "Even thing" in done.stdout


def test_an_error_of_the_server_is_one_sentence_here(shop: Shop) -> None:
    url = shop.url.rsplit("/v1/", 1)[0]
    done = nearfield(shop, "search", "--item", "never-heard-of", "--url", url)
    assert (done.returncode, done.stderr) == (1, "error: there is no item 'never-heard-of' to search from\n")
    done = nearfield(shop, "recommend", "--k", "0", "--url", url)
    assert (done.returncode, done.stderr) == (2, "error: expected a k of 1 to 1000, got 0\n")
    done = nearfield(shop, "recommend", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "no nearfield answers at http://127.0.0.1:1" in done.stderr
