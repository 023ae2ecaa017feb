"""CatalogueReplacement: a file that is the whole catalogue hides the items that it does not contain."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.errors import Conflict, InputError

MAX_HIDDEN_SHARE = 0.2


@dataclass(frozen=True)
class CatalogueReplacement:
    """At most `max_hidden_share` of the available items may be hidden, or any number with `force`."""

    max_hidden_share: float = MAX_HIDDEN_SHARE
    force: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.max_hidden_share <= 1:
            raise InputError(f"expected a share of items to hide from 0 to 1, got {self.max_hidden_share}")

    def items_to_hide(self, available: Sequence[str], in_file: Collection[str]) -> list[str]:
        """The `available` items that are not `in_file`; Conflict when there are too many of them."""
        missing = [item_id for item_id in available if item_id not in in_file]
        if len(missing) > self.max_hidden_share * len(available) and not self.force:
            raise Conflict(
                f"{len(missing):,} of {len(available):,} available items are not in the file, such as {missing[0]!r}; "
                f"that is more than {self.max_hidden_share:.0%}, so nothing was written; if the file is the whole "
                "catalogue give --yes"
            )
        return missing
