"""FewFaults: a request is told all that is wrong with it; one with a great many faults is told how many.

To tell a fault takes 10 microseconds, in which the event loop stands, and a body has room for a million of them.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import PydanticCustomError

MOST_FAULTS = 1000


class FewFaults(BaseModel):
    @model_validator(mode="wrap")
    @classmethod
    def few_faults(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        n_faults = len(value) - len(cls.model_fields) if isinstance(value, dict) else 0  # names, at least
        if n_faults <= MOST_FAULTS:
            try:
                return handler(value)
            except ValidationError as error:
                n_faults = error.error_count()
                if n_faults <= MOST_FAULTS:
                    raise
        told = f"expected what /docs describes, got {n_faults:,} faults or more: unknown names, or wrong values"
        raise PydanticCustomError("too_many_faults", "{told}", {"told": told})
