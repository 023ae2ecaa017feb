"""EncodedSlashes: `/items/a%2Fb/similar` asks about item `a/b`. The server decoded the path; this splits it first.

Control characters are hidden like slashes: a route does not match a newline.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

# An encoded slash or control character inside one segment, as a lone surrogate, which no valid text has.
HIDDEN = {code: 0xDC00 + code for code in (*range(0x20), ord("/"), 0x7F)}
SHOWN = {hidden: code for code, hidden in HIDDEN.items()}


class EncodedSlashes:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path") or b""
        if scope["type"] != "http" or b"%" not in raw:
            await self.app(scope, receive, send)
            return
        parts = [unquote_to_bytes(part).decode("utf-8", "surrogateescape") for part in raw.split(b"/")]
        split = {**scope, "path": "/".join(part.translate(HIDDEN) for part in parts)}  # the server reads its own path
        try:
            await self.app(split, receive, send)
        finally:
            if "route" in split:  # for metrics and logs
                scope["route"] = split["route"]


def restored(segment: str) -> str:
    return segment.translate(SHOWN)
