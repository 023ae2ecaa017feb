"""NumPy files: the matrix of an NPY or NPZ file, with ids and labels if the file has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import InputError

SUFFIXES = (".npy", ".npz")
PIXELS = np.uint8  # columns of bytes share one scale, also in an array with two dimensions


@dataclass(frozen=True, eq=False)
class Arrays:
    """`matrix` is (n, n_columns) float64. `one_unit`: the columns are parts of one thing, such as pixels."""

    name: str
    matrix: npt.NDArray[np.float64]
    one_unit: bool
    ids: list[str] | None
    labels: list[str | None] | None


def read(path: Path, *, array: str | None = None, label: str | None = None, ids: str | None = None) -> Arrays:
    """The rows of `array`, or of the only array with two or more dimensions.

    The labels are in the array `label`, by default `y`; the ids are in the array `ids`, by default `ids`. Raises
    InputError with one sentence for a missing or broken file, and for one without such arrays.
    """
    loaded = _load(path)
    name = _matrix_name(path, loaded, array)
    raw = loaded[name]
    if raw.dtype.kind not in "fiub":
        raise InputError(f"array {name!r} of {path.name} has type {raw.dtype}; expected numbers")
    if raw.ndim < 2 or 0 in raw.shape:
        raise InputError(f"array {name!r} of {path.name} has shape {raw.shape}; expected rows and columns")
    label = label or ("y" if "y" in loaded and name != "y" else None)
    ids = ids or ("ids" if "ids" in loaded and name != "ids" else None)
    return Arrays(
        name,
        raw.reshape(len(raw), -1).astype(np.float64),
        raw.ndim > 2 or raw.dtype == PIXELS,
        None if ids is None else [str(each) for each in _column_of(path, loaded, ids, len(raw))],
        None if label is None else [str(each) for each in _column_of(path, loaded, label, len(raw))],
    )


def _load(path: Path) -> dict[str, npt.NDArray]:
    if not path.is_file():
        raise InputError(f"{path} does not exist" if not path.exists() else f"{path} is a folder; expected a file")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        first = str(error).split("\n")[0]
        raise InputError(f"{path.name} cannot be read as {path.suffix[1:].upper()}: {first}") from None


def _matrix_name(path: Path, loaded: dict[str, npt.NDArray], array: str | None) -> str:
    if array is not None:
        if array not in loaded:
            raise InputError(f"{path.name} has no array {array!r}; it has {', '.join(loaded)}")
        return array
    matrices = [name for name, each in loaded.items() if each.ndim >= 2]
    for name in ("X", "x", *matrices[:1]):
        if name in loaded and (name in "Xx" or len(matrices) == 1):
            return name
    raise InputError(f"{path.name} has the arrays {', '.join(loaded) or 'none'}; name one with --array")


def _column_of(path: Path, loaded: dict[str, npt.NDArray], name: str, n: int) -> npt.NDArray:
    """The array `name`, one value for each of `n` rows."""
    if name not in loaded:
        raise InputError(f"{path.name} has no array {name!r}; it has {', '.join(loaded)}")
    if loaded[name].ndim != 1 or len(loaded[name]) != n:
        raise InputError(f"array {name!r} of {path.name} has shape {loaded[name].shape}; expected ({n},)")
    return loaded[name]
