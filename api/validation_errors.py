"""BoundedErrorsModel: a response lists every error of a request, up to MAX_ERRORS; beyond that, only their number.

Each error takes 10 microseconds of the event loop to build, and one body has room for a million of them.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import PydanticCustomError

MAX_ERRORS = 1000


class BoundedErrorsModel(BaseModel):
    @model_validator(mode="wrap")
    @classmethod
    def bound_errors(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        n_errors = len(value) - len(cls.model_fields) if isinstance(value, dict) else 0  # unknown names
        if n_errors <= MAX_ERRORS:
            try:
                return handler(value)
            except ValidationError as error:
                n_errors = error.error_count()
                if n_errors <= MAX_ERRORS:
                    raise
        message = f"expected a request as /docs describes it, got {n_errors:,} or more unknown names or wrong values"
        raise PydanticCustomError("too_many_faults", "{message}", {"message": message})
