"""Users of a storefront, with the attributes that the storefront stores for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    user_id: str
    attributes: Mapping[str, object] = field(default_factory=dict)  # JSON values
