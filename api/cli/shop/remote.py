"""Calls to a running server with the key in NEARFIELD_API_KEY."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import typer

from api.cli.terminal.options import settings
from engine.errors import Conflict, InputError, NearfieldError, NotFound, StoreUnavailable

Url = Annotated[
    str | None,
    typer.Option(
        help="Ask the server at this address instead of the database, with the key in NEARFIELD_API_KEY.",
        show_default=False,
    ),
]
ERRORS: dict[int, type[NearfieldError]] = {404: NotFound, 409: Conflict, 422: InputError}
TIMEOUT_S = 30


def ask(url: str, space: str, verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The response of `POST URL/v1/SPACE/VERB`. A problem response is raised as the error of its status code."""
    key = settings().api_key
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    try:
        response = httpx.post(
            f"{url.rstrip('/')}/v1/{space}/{verb}", json=dict(request), headers=headers, timeout=TIMEOUT_S
        )
        body: dict[str, Any] = response.json()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InputError(f"expected a --url such as http://127.0.0.1:8000, got {url!r}: {error}") from None
    except (httpx.HTTPError, ValueError) as error:
        raise StoreUnavailable(f"no nearfield answers at {url}: {error}") from None
    if response.is_error:
        raise ERRORS.get(response.status_code, NearfieldError)(str(body.get("detail", response.text)))
    return body
