"""Checkpoints: a folder in which long trainings keep what they have learnt so far, so that one that was killed goes on.

A checkpoint is found by the fingerprint of its training and is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from engine import atomic

SUFFIX = ".checkpoint"
DIGEST_BYTES = 32  # bytes of SHA-256 before the content


@dataclass(frozen=True, eq=False)
class Checkpoints:
    folder: Path
    every_s: float = 15.0  # at most so often; a training that is shorter writes nothing
    messages: list[str] = field(default_factory=list)  # what was resumed, a sentence each

    def read(self, fingerprint: str) -> bytes | None:
        """None where there is none; one whose checksum is wrong is told and left aside."""
        try:
            content = self._path(fingerprint).read_bytes()
        except FileNotFoundError:
            return None
        digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            self.messages.append(f"{self._path(fingerprint)} is damaged; training begins anew")
            return None
        return content

    def write(self, fingerprint: str, content: bytes) -> None:
        atomic.write(self._path(fingerprint), hashlib.sha256(content).digest() + content)

    def delete(self, fingerprint: str) -> None:
        self._path(fingerprint).unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Remove every one, those of trainings that nobody will end too."""
        for path in self.folder.glob(f"*{SUFFIX}"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob(f".*{SUFFIX}.*.partial"):  # of a process that was killed while it wrote
            path.unlink(missing_ok=True)

    def _path(self, fingerprint: str) -> Path:
        return self.folder / f"{fingerprint}{SUFFIX}"
