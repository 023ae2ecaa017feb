"""The stages of shaping, in their order. A new stage is a file beside this one and one line here."""

from __future__ import annotations

from engine.recommending.shaping.stage import Stage

SHAPING: tuple[Stage, ...] = ()
