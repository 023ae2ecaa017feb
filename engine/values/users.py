"""User: one customer, with whatever attributes the storefront keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    user_id: str
    attributes: Mapping[str, object] = field(default_factory=dict)  # JSON values
