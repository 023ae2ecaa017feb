"""Whatever the OpenAPI document allows, and some that it does not, is answered without a failure of the server."""

from __future__ import annotations

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Shop

EXAMPLES = 4  # of each operation
LEFT_OUT = {("DELETE", "/v1/{space}"), ("POST", "/v1/keys")}  # would take the shop away, or close it


def test_no_request_makes_the_server_fail(shop: Shop) -> None:
    root = shop.url.rsplit("/v1/", 1)[0]
    document = httpx.get(root + "/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    failed, asked = [], 0
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
            @given(case=operation.as_strategy(), real=st.booleans())
            def ask(case: schemathesis.Case, real: bool) -> None:
                nonlocal asked
                if real and "space" in (case.path_parameters or {}):
                    case.path_parameters["space"] = shop.space.name
                asked += 1
                options = case.as_transport_kwargs(base_url=root)
                options.pop("cookies", None)
                options["headers"] = {name: value.strip() for name, value in dict(options["headers"]).items()}
                if isinstance(options.get("data"), bytes):
                    options["content"] = options.pop("data")
                answer = client.request(**options)
                if answer.status_code >= 500:
                    failed.append((case.method, answer.request.url, answer.status_code, answer.text[:300]))

            ask()
    assert failed == []
    assert asked > 100
