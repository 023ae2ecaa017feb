"""Checkpoints of long trainings in a folder, so that a training that was killed resumes where it stopped.

The fingerprint of a training names its checkpoint. Checkpoints are written atomically and have a checksum.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from engine import atomic

SUFFIX = ".checkpoint"
DIGEST_BYTES = 32  # of the SHA-256 checksum before the content


@dataclass(frozen=True, eq=False)
class Checkpoints:
    folder: Path
    every_s: float = 15.0  # minimum interval between writes; a shorter training writes no checkpoint
    messages: list[str] = field(default_factory=list)  # one sentence per resumed training or damaged checkpoint

    def read(self, fingerprint: str) -> bytes | None:
        """The content of a checkpoint, or None. A checkpoint with a wrong checksum is reported in `messages`."""
        try:
            content = self._path(fingerprint).read_bytes()
        except FileNotFoundError:
            return None
        digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            self.messages.append(f"{self._path(fingerprint)} is damaged; training starts over")
            return None
        return content

    def write(self, fingerprint: str, content: bytes) -> None:
        atomic.write(self._path(fingerprint), hashlib.sha256(content).digest() + content)

    def delete(self, fingerprint: str) -> None:
        self._path(fingerprint).unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Delete all checkpoints, including the checkpoints of abandoned trainings."""
        for path in self.folder.glob(f"*{SUFFIX}"):
            path.unlink(missing_ok=True)
        for path in self.folder.glob(f".*{SUFFIX}.*.partial"):  # left by a process that was killed during a write
            path.unlink(missing_ok=True)

    def _path(self, fingerprint: str) -> Path:
        return self.folder / f"{fingerprint}{SUFFIX}"
