"""EncodedPaths: ids with slashes in a path. `/items/a%2Fb/similar` is about item `a/b`.

The server decodes a path before the router splits it. This middleware splits the raw path first and replaces encoded
slashes by placeholders, which `restored` turns back. Control characters get placeholders too: a route does not match a
newline.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

# The placeholders are lone surrogates, which no valid text has.
PLACEHOLDERS = {code: 0xDC00 + code for code in (*range(0x20), ord("/"), 0x7F)}
ORIGINALS = {placeholder: code for code, placeholder in PLACEHOLDERS.items()}


class EncodedPaths:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path") or b""
        if scope["type"] != "http" or b"%" not in raw:
            await self.app(scope, receive, send)
            return
        parts = [unquote_to_bytes(part).decode("utf-8", "surrogateescape") for part in raw.split(b"/")]
        # A copy, because uvicorn reads the original path.
        split = {**scope, "path": "/".join(part.translate(PLACEHOLDERS) for part in parts)}
        try:
            await self.app(split, receive, send)
        finally:
            if "route" in split:  # for the metrics and logs further out
                scope["route"] = split["route"]


def restored(segment: str) -> str:
    return segment.translate(ORIGINALS)
