"""Queries: the parameters of a URL as a model, checked in one step.

FastAPI looks at each on its own, which costs as much as a search; so the busiest routes read theirs here and say
themselves what they are in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Asked = TypeVar("Asked", bound=BaseModel)


def query_of(model: type[Asked]) -> Callable[[Request], Awaitable[Asked]]:
    """A dependency that reads the query as `model`; one given several times is a list, or else the last counts."""
    lists = {name for name, schema in _schema(model)["properties"].items() if _is_list(schema)}

    async def read(request: Request) -> Asked:
        given: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in lists:
                given.setdefault(name, []).append(value)
            else:
                given[name] = value
        try:
            return model.model_validate(given)
        except ValidationError as error:
            found = error.errors(include_url=False)
            raise RequestValidationError([{**each, "loc": ("query", *each["loc"])} for each in found]) from None

    return read


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """What such a route adds to its operation of the OpenAPI document."""
    schema = _schema(model)
    required = schema.get("required", ())
    parameters = [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        | ({"description": each["description"]} if "description" in each else {})
        for name, each in schema["properties"].items()
    ]
    return {"parameters": parameters}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """As FastAPI has it: what it refers to is in the document through the bodies that have it too."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def _is_list(schema: dict[str, Any]) -> bool:
    """Whether it is a list, or a list or null."""
    return any(each.get("type") == "array" for each in (schema, *schema.get("anyOf", ())))
