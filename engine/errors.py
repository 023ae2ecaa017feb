"""Every error nearfield raises on purpose.

NearfieldError
├── InputError            the caller's data or arguments are wrong (HTTP 422, CLI exit 2)
├── NotFound              a space, item, user, model or generation that is not there (404, exit 1)
├── Conflict              the state forbids it: name taken, port in use (409, exit 1)
├── NotEnoughData         nothing to learn from, nothing to index (409, exit 1)
├── TrainingFailed        training diverged; nothing was saved (500, exit 1)
├── DeviceUnavailable     a GPU was asked for and is not there (409, exit 1)
├── BelowFloor            measured recall or quality is under the floor; not published (409, exit 1)
├── CorruptGeneration     a file of a generation fails its checksum (503, exit 1)
├── DeadlineExceeded      what was asked for was not there within the deadline (503 with Retry-After, exit 1)
└── StoreUnavailable      PostgreSQL is away or cannot be used (503 with Retry-After, exit 1)
    ├── StoreBusy         it answers, and something else is done with what was asked for; nothing was written
    └── DiskFull          a disk has no room left, PostgreSQL's or that of the index files (507, exit 1)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Where an input is wrong and why: `loc` is a path such as ("body", "events", 3, "item_id")."""

    loc: tuple[str | int, ...]
    msg: str


class NearfieldError(Exception):
    """Base of the tree; the message is one clear sentence for a person."""


class InputError(NearfieldError):
    def __init__(self, msg: str, *, loc: tuple[str | int, ...] = (), problems: tuple[Problem, ...] = ()):
        super().__init__(msg)
        self.problems = problems or ((Problem(loc, msg),) if loc else ())


class NotFound(NearfieldError):
    pass


class Conflict(NearfieldError):
    pass


class NotEnoughData(NearfieldError):
    pass


class TrainingFailed(NearfieldError):
    def __init__(self, msg: str, *, losses: tuple[float, ...] = ()):
        super().__init__(msg)
        self.losses = losses  # of every pass, where it was in passes


class DeviceUnavailable(NearfieldError):
    pass


class BelowFloor(NearfieldError):
    pass


class CorruptGeneration(NearfieldError):
    pass


class DeadlineExceeded(NearfieldError):
    pass


class StoreUnavailable(NearfieldError):
    is_down = True  # for all that is known


class StoreBusy(StoreUnavailable):
    is_down = False  # it answered


class DiskFull(StoreUnavailable):
    is_down = False  # it answered; an instance says True where PostgreSQL ended of it


def short_repr(value: object) -> str:
    """What was got, for a message: as Python writes it, cut to 60 characters."""
    try:
        text = repr(value)
    except RecursionError:  # a thousand lists in each other
        return f"a {type(value).__name__} that nests too deep"
    return text if len(text) <= 60 else text[:57] + "..."
