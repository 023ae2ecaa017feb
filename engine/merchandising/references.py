"""References: what filters of a request may refer to: the segments of the space, and the situation of the request."""

from __future__ import annotations

from dataclasses import dataclass

from engine.catalogue.comparable_values import Loc
from engine.segments.references import has_reference
from engine.segments.segments import NO_SEGMENTS, Segments
from engine.templates.filter_templates import field_name, is_template, resolved
from engine.templates.situation import NOWHERE, Situation


@dataclass(frozen=True, eq=False)
class References:
    segments: Segments = NO_SEGMENTS
    situation: Situation = NOWHERE

    def expand(self, filter_: object, loc: Loc) -> object:
        """The filter, as JSON, without references; the filter itself if it has none. InputError names a wrong one."""
        expanded = self.segments.expand(filter_, loc)
        return resolved(expanded, loc, self.situation) if is_template(expanded, loc) else expanded

    def field_name(self, name: str, loc: Loc) -> str:
        return field_name(name, loc, self.situation)


def depends_on_request(filter_: object) -> bool:
    """Whether a filter, as JSON, may mean something else for the next request."""
    return has_reference(filter_) or is_template(filter_)
