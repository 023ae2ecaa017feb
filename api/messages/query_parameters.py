"""Query parameters of the busiest routes, validated as one pydantic model.

FastAPI validates each parameter separately, which takes as long as a search. These routes therefore read their query
here and add their parameters to the OpenAPI document themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def query_of(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """A dependency that reads the query as `model`. A repeated parameter is a list where the model has one; otherwise
    the last value counts."""
    lists = {name for name, schema in _schema(model)["properties"].items() if _is_list(schema)}

    async def read(request: Request) -> Model:
        values: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in lists:
                values.setdefault(name, []).append(value)
            else:
                values[name] = value
        try:
            return model.model_validate(values)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            raise RequestValidationError([{**each, "loc": ("query", *each["loc"])} for each in errors]) from None

    return read


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route whose query is `model`."""
    schema = _schema(model)
    required = schema.get("required", ())
    parameters = [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        | ({"description": each["description"]} if "description" in each else {})
        for name, each in schema["properties"].items()
    ]
    return {"parameters": parameters}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """With references as FastAPI writes them. Bodies use the referenced schemas too, so the document has them."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def _is_list(schema: dict[str, Any]) -> bool:
    """Whether the schema is a list, or a list or null."""
    return any(each.get("type") == "array" for each in (schema, *schema.get("anyOf", ())))
