"""Calls to a running server, with the key of NEARFIELD_API_KEY."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import typer

from api.cli.terminal.options import settings
from engine.errors import Conflict, InputError, NearfieldError, NotFound, StoreUnavailable

Url = Annotated[
    str | None,
    typer.Option(help="Ask the server there instead, with the key of NEARFIELD_API_KEY.", show_default=False),
]
ERRORS: dict[int, type[NearfieldError]] = {404: NotFound, 409: Conflict, 422: InputError}
TIMEOUT_S = 30


def ask(url: str, space: str, verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of `POST URL/v1/SPACE/VERB`; a problem becomes the error that the server meant."""
    key = settings().api_key
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    try:
        answer = httpx.post(f"{url.rstrip('/')}/v1/{space}/{verb}", json=dict(body), headers=headers, timeout=TIMEOUT_S)
        found: dict[str, Any] = answer.json()
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InputError(f"expected a --url such as http://127.0.0.1:8000, got {url!r}: {error}") from None
    except (httpx.HTTPError, ValueError) as error:
        raise StoreUnavailable(f"no nearfield answers at {url}: {error}") from None
    if answer.is_error:
        raise ERRORS.get(answer.status_code, NearfieldError)(str(found.get("detail", answer.text)))
    return found
