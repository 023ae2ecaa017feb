"""word2vec files, text and binary, as Gensim and the original tool write them; GloVe text files without a header."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from engine.errors import InputError

BINARY, TEXT = (".bin",), (".txt", ".vec", ".w2v")
MAX_WORD_BYTES = 4096

WordVectors = tuple[list[str], npt.NDArray[np.float32]]


def is_word2vec(path: Path) -> bool:
    return _kind(path) in (*BINARY, *TEXT)


def read(path: Path) -> WordVectors:
    """Words and their (n, dim) float32 vectors, in the order of the file; a `.gz` file is decompressed.

    Raises InputError with one sentence for a file that does not exist, is truncated or has another format.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist" if not path.exists() else f"{path} is a folder; expected a file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read_binary(file) if _kind(path) in BINARY else _read_text(file)  # type: ignore[arg-type]
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read as word2vec: {error}") from None


def _kind(path: Path) -> str:
    """The suffix before `.gz`, in lower case."""
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def _read_binary(file: BinaryIO) -> WordVectors:
    header = file.readline(64).split()
    if len(header) != 2 or not all(part.isdigit() for part in header):
        raise ValueError("expected the number of words and the number of dimensions in its first line")
    n, dim = int(header[0]), int(header[1])
    body = memoryview(file.read())
    if dim == 0 or len(body) < n * (4 * dim + 2):
        raise ValueError(f"it is too short for {n:,} words of {dim} dimensions")
    words, matrix, start = [], np.empty((n, dim), np.float32), 0
    for row in range(n):
        word_bytes = bytes(body[start : start + MAX_WORD_BYTES]).find(b" ")
        end = start + word_bytes + 1 + 4 * dim
        if word_bytes < 0 or end > len(body):
            raise ValueError(f"it ends within word {row + 1:,} of {n:,}")
        words.append(bytes(body[start : start + word_bytes]).decode("utf-8", "replace").lstrip("\n"))
        matrix[row] = np.frombuffer(body, "<f4", dim, start + word_bytes + 1)
        start = end
    return words, matrix


def _read_text(file: BinaryIO) -> WordVectors:
    words: list[str] = []
    rows: list[npt.NDArray[np.float32]] = []
    expected: list[int] | None = None
    for number, line in enumerate(file, 1):
        parts = line.decode("utf-8", "replace").rstrip().split(" ")
        if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
            expected = [int(part) for part in parts]
            continue
        dim = expected[1] if expected else (len(rows[0]) if rows else len(parts) - 1)
        if len(parts) <= dim or dim < 1:
            raise ValueError(f"line {number} has {len(parts) - 1} numbers, expected {dim}")
        words.append(" ".join(parts[:-dim]))
        rows.append(np.array(parts[-dim:], dtype=np.float32))
    if not rows or (expected and len(rows) != expected[0]):
        raise ValueError(f"expected {expected[0] if expected else 0:,} words by its first line, got {len(rows):,}")
    return words, np.stack(rows)
