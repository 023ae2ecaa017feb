"""The home page and the product page of a shop, each by one call.

Start a shop with `nearfield demo`, which prints a key, and run in another terminal:

    python examples/storefront_pages.py --key nf_...

The pages are stored once (`put_pages`), by the people who run the shop. The storefront only names a page and a visitor.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import httpx

SEGMENTS = {
    "bargains": {"of": "items", "filter": {"price": {"lt": 25}}},
}
PAGES = {
    "home": {
        "shelves": [
            {"name": "for-you", "title": "For you", "k": 6},
            {"name": "because", "title": "Because you viewed {title}", "seed": {"event": "view"}, "k": 4},
            {"name": "style", "title": "More {value} style", "best": {"field": "style"}, "k": 4},
            {"name": "bargains", "title": "Under 25", "filter": {"segment": "bargains"}, "k": 4},
        ],
    },
    "product": {
        "shelves": [
            {"name": "like-this", "title": "Like {title}", "seed": {"event": "view"}, "k": 6},
            {"name": "for-you", "title": "For you", "k": 4},
        ],
    },
}


def put_pages(shop: httpx.Client) -> None:
    """Store the pages; a document that is stored already changes nothing."""
    for path, documents in (("segments", SEGMENTS), ("pages", PAGES)):
        for name, document in documents.items():
            shop.put(f"{path}/{name}", json=document).raise_for_status()


def home_page(shop: httpx.Client, user_id: str) -> dict[str, Any]:
    return page(shop, {"page": "home", "user_id": user_id, "fields": ["title", "price"]})


def product_page(shop: httpx.Client, user_id: str, item_id: str) -> dict[str, Any]:
    """The item that the visitor looks at is the newest of the history, and not shown beside itself."""
    looks_at = {"history": [{"item_id": item_id}], "exclude_items": [item_id]}
    return page(shop, {"page": "product", "user_id": user_id, "fields": ["title", "price"]} | looks_at)


def page(shop: httpx.Client, asked: dict[str, Any]) -> dict[str, Any]:
    answer = shop.post("page", json=asked)
    answer.raise_for_status()
    return answer.json()


def more(shop: httpx.Client, asked: dict[str, Any], shown: dict[str, Any], shelf: str) -> dict[str, Any]:
    """The next items of one shelf, none of which is on the page yet."""
    return page(shop, asked | {"cursors": shown["cursors"], "shelves": [shelf]})


def lines(shown: dict[str, Any]) -> Iterator[str]:
    for shelf in shown["shelves"]:
        if shelf["items"]:
            yield f"\n  {shelf['title']}"
        for item in shelf["items"]:
            yield f"    {item['fields']['title']:<42} {item['fields']['price']:>7.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the home page and a product page of the demo shop.")
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1/demo", help="the server and the space")
    parser.add_argument("--key", help="an API key with the scope write")
    parser.add_argument("--user", default="customer-01549")
    parser.add_argument("--item", default="BED-00033")
    asked = parser.parse_args()
    headers = {"Authorization": f"Bearer {asked.key}"} if asked.key else {}
    with httpx.Client(base_url=asked.url, headers=headers, timeout=10) as shop:
        put_pages(shop)
        home = home_page(shop, asked.user)
        print(f"home page of {asked.user}", *lines(home), sep="\n")
        also = more(shop, {"page": "home", "user_id": asked.user, "fields": ["title", "price"]}, home, "for-you")
        print("\nmore of it", *lines(also), sep="\n")
        print(f"\nproduct page of {asked.item}", *lines(product_page(shop, asked.user, asked.item)), sep="\n")


if __name__ == "__main__":
    main()
