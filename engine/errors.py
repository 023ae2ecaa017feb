"""Every error nearfield raises on purpose.

NearfieldError
├── InputError            the caller's data or arguments are wrong (HTTP 422, CLI exit 2)
├── NotFound              a space, item, user, model or generation that does not exist (404, exit 1)
├── Conflict              the current state forbids it: name taken, port in use (409, exit 1)
├── NotEnoughData         nothing to learn from, nothing to index (409, exit 1)
├── TrainingFailed        training diverged; nothing was saved (500, exit 1)
├── DeviceUnavailable     a GPU was requested and is not available (409, exit 1)
├── BelowFloor            measured recall or quality is under the floor; not published (409, exit 1)
├── CorruptGeneration     a file of a generation fails its checksum (503, exit 1)
├── DeadlineExceeded      the request was not finished before its deadline (503 with Retry-After, exit 1)
└── StoreUnavailable      PostgreSQL is down or cannot be used (503 with Retry-After, exit 1)
    ├── StoreBusy         PostgreSQL runs, but the rows are locked by other work; nothing was written
    └── DiskFull          the disk of PostgreSQL or of the index files is full (507, exit 1)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """The place and the reason of an invalid input: `loc` is a path such as ("body", "events", 3, "item_id")."""

    loc: tuple[str | int, ...]
    msg: str


class NearfieldError(Exception):
    """Base of the tree; the message is one sentence for a person."""


class InputError(NearfieldError):
    def __init__(self, msg: str, *, loc: tuple[str | int, ...] = (), problems: tuple[Problem, ...] = ()):
        super().__init__(msg)
        self.problems = problems or ((Problem(loc, msg),) if loc else ())

    def within(self, loc: tuple[str | int, ...]) -> InputError:
        """The error of a request that is at `loc`; places that begin there, or with a rule, stay as they are."""
        problems = (
            each if each.loc[:1] in (loc[:1], ("rules",)) else Problem((*loc, *each.loc), each.msg)
            for each in self.problems
        )
        return InputError(str(self), problems=tuple(problems))


class NotFound(NearfieldError):
    pass


class Conflict(NearfieldError):
    pass


class NotEnoughData(NearfieldError):
    pass


class TrainingFailed(NearfieldError):
    def __init__(self, msg: str, *, losses: tuple[float, ...] = ()):
        super().__init__(msg)
        self.losses = losses  # of each pass over the data, for trainings in passes


class DeviceUnavailable(NearfieldError):
    pass


class BelowFloor(NearfieldError):
    pass


class CorruptGeneration(NearfieldError):
    pass


class DeadlineExceeded(NearfieldError):
    pass


class StoreUnavailable(NearfieldError):
    is_down = True  # assumed, unless PostgreSQL answered


class StoreBusy(StoreUnavailable):
    is_down = False  # PostgreSQL answered


class DiskFull(StoreUnavailable):
    is_down = False  # PostgreSQL answered; set to True on an instance if the full disk stopped PostgreSQL


def short_repr(value: object) -> str:
    """The repr of a value for an error message, cut to 60 characters."""
    try:
        text = repr(value)
    except RecursionError:  # about a thousand nested lists
        return f"a {type(value).__name__} that nests too deep"
    return text if len(text) <= 60 else text[:57] + "..."
