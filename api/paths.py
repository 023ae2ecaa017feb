"""EncodedSlashes: `/items/a%2Fb/similar` asks about item `a/b`. The server decoded the path; this splits it first."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

SLASH = "\udc2f"  # an encoded slash inside one segment; no valid text has a lone surrogate


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
        split = {**scope, "path": "/".join(part.replace("/", SLASH) for part in parts)}  # the server reads its own path
        try:
            await self.app(split, receive, send)
        finally:
            if "route" in split:  # for metrics and logs
                scope["route"] = split["route"]


def restored(segment: str) -> str:
    return segment.replace(SLASH, "/")
