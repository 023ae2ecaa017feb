"""NumPy files: the one matrix of an NPY or NPZ, with ids and labels where the file has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import InputError

SUFFIXES = (".npy", ".npz")
PIXELS = np.uint8  # of any shape: bytes are one scale


@dataclass(frozen=True, eq=False)
class Arrays:
    """`matrix` is (n, n_columns) float64. `one_unit`: its columns are parts of one thing, such as pixels."""

    name: str
    matrix: npt.NDArray[np.float64]
    one_unit: bool
    ids: list[str] | None
    labels: list[str | None] | None


def read(path: Path, *, array: str | None = None, label: str | None = None, ids: str | None = None) -> Arrays:
    """The rows of `array`, or of the only array with rows and columns; labels of `label` or `y`, ids of `ids`.

    Raises InputError with one sentence for a file that is not there, broken, or holds no such array.
    """
    found = _load(path)
    name = _matrix_name(path, found, array)
    raw = found[name]
    if raw.dtype.kind not in "fiub":
        raise InputError(f"array {name!r} of {path.name} holds {raw.dtype}; expected numbers")
    if raw.ndim < 2 or 0 in raw.shape:
        raise InputError(f"array {name!r} of {path.name} has shape {raw.shape}; expected rows and columns")
    label = label or ("y" if "y" in found and name != "y" else None)
    ids = ids or ("ids" if "ids" in found and name != "ids" else None)
    return Arrays(
        name,
        raw.reshape(len(raw), -1).astype(np.float64),
        raw.ndim > 2 or raw.dtype == PIXELS,
        None if ids is None else [str(each) for each in _beside(path, found, ids, len(raw))],
        None if label is None else [str(each) for each in _beside(path, found, label, len(raw))],
    )


def _load(path: Path) -> dict[str, npt.NDArray]:
    if not path.is_file():
        raise InputError(f"{path} is not there" if not path.exists() else f"{path} is a folder; expected a file")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        first = str(error).split("\n")[0]
        raise InputError(f"{path.name} cannot be read as {path.suffix[1:].upper()}: {first}") from None


def _matrix_name(path: Path, found: dict[str, npt.NDArray], array: str | None) -> str:
    if array is not None:
        if array not in found:
            raise InputError(f"{path.name} has no array {array!r}; it has {', '.join(found)}")
        return array
    wide = [name for name, each in found.items() if each.ndim >= 2]
    for name in ("X", "x", *wide[:1]):
        if name in found and (name in "Xx" or len(wide) == 1):
            return name
    raise InputError(f"{path.name} has the arrays {', '.join(found) or 'none'}; name one with --array")


def _beside(path: Path, found: dict[str, npt.NDArray], name: str, n: int) -> npt.NDArray:
    if name not in found:
        raise InputError(f"{path.name} has no array {name!r}; it has {', '.join(found)}")
    if found[name].ndim != 1 or len(found[name]) != n:
        raise InputError(f"array {name!r} of {path.name} has shape {found[name].shape}; expected ({n},)")
    return found[name]
