"""word2vec files, text and binary, as Gensim and the original tool write them; GloVe's text, which has no header."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from engine.errors import InputError

BINARY, TEXT = (".bin",), (".txt", ".vec", ".w2v")
MAX_WORD_BYTES = 4096

Found = tuple[list[str], npt.NDArray[np.float32]]


def is_word2vec(path: Path) -> bool:
    return _kind(path) in (*BINARY, *TEXT)


def read(path: Path) -> Found:
    """Words and their (n, dim) float32 vectors, in the order of the file; `.gz` is unpacked.

    Raises InputError with one sentence for a file that is not there, cut short or not of this kind.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there" if not path.exists() else f"{path} is a folder; expected a file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _binary(file) if _kind(path) in BINARY else _text(file)  # type: ignore[arg-type]
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read as word2vec: {error}") from None


def _kind(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def _binary(file: BinaryIO) -> Found:
    header = file.readline(64).split()
    if len(header) != 2 or not all(part.isdigit() for part in header):
        raise ValueError("its first line is not the number of words and of dimensions")
    n, dim = int(header[0]), int(header[1])
    rest = memoryview(file.read())
    if dim == 0 or len(rest) < n * (4 * dim + 2):
        raise ValueError(f"it is too short for {n:,} words of {dim} dimensions")
    words, matrix, at = [], np.empty((n, dim), np.float32), 0
    for row in range(n):
        space = bytes(rest[at : at + MAX_WORD_BYTES]).find(b" ")
        end = at + space + 1 + 4 * dim
        if space < 0 or end > len(rest):
            raise ValueError(f"it ends within word {row + 1:,} of {n:,}")
        words.append(bytes(rest[at : at + space]).decode("utf-8", "replace").lstrip("\n"))
        matrix[row] = np.frombuffer(rest, "<f4", dim, at + space + 1)
        at = end
    return words, matrix


def _text(file: BinaryIO) -> Found:
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
        raise ValueError(f"it has {len(rows):,} words, its first line says {expected[0] if expected else 0:,}")
    return words, np.stack(rows)
