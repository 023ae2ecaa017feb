"""Whatever the OpenAPI document allows, and much that it does not, is answered without a failure of the server.

NEARFIELD_TEST_EXAMPLES=100 tries more than the suite has time for.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from unittest import SkipTest

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.api.conftest import Shop

EXAMPLES = int(os.environ.get("NEARFIELD_TEST_EXAMPLES", "4"))  # of each operation
LEFT_OUT = {("DELETE", "/v1/{space}"), ("POST", "/v1/keys")}  # would take the shop away, or close it

IMPOSSIBLE = (SkipTest, Unsatisfiable)  # raised for an operation of which nothing wrong can be asked


def in_its_time(answer: httpx.Response) -> bool:
    """Whether this is the 503 of a request that asked for a write to come, or for an answer within some time."""
    sent = answer.request.url.query + answer.request.content
    asked = b"min_seq" in sent or b"deadline_ms" in sent
    return asked and answer.status_code == 503 and "Retry-After" in answer.headers


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_request_makes_the_server_fail(shop: Shop, mode: GenerationMode) -> None:
    root = shop.url.rsplit("/v1/", 1)[0]
    document = httpx.get(root + "/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    failed: list[tuple[str, str, int, str]] = []
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=root, timeout=30) as client:
        for result in schema.get_all_operations():
            operation = result.ok()
            if (operation.method.upper(), operation.path) in LEFT_OUT:
                continue

            @settings(
                max_examples=EXAMPLES,
                database=None,
                deadline=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(mode), real=st.booleans())
            def ask(case: schemathesis.Case, real: bool) -> None:
                if real and "space" in (case.path_parameters or {}):
                    case.path_parameters["space"] = shop.space.name
                options = case.as_transport_kwargs(base_url=root)
                options.pop("cookies", None)
                headers = {name: value.strip() for name, value in dict(options["headers"]).items()}
                headers.pop("Authorization", None)  # a made one is answered 401, and nothing else is looked at
                options["headers"] = headers
                if isinstance(options.get("data"), bytes):
                    options["content"] = options.pop("data")
                try:
                    answer = client.request(**options)
                except httpx.InvalidURL:  # too long for the client to send
                    return
                statuses[answer.status_code] += 1
                if answer.status_code >= 500 and not in_its_time(answer):
                    failed.append((case.method, str(answer.request.url), answer.status_code, answer.text[:300]))

            with suppress(*IMPOSSIBLE if mode.is_negative else ()):
                ask()
    assert failed == []
    assert statuses.total() > 100
    if mode.is_negative:
        assert statuses[422] + statuses[400] > statuses.total() / 10
