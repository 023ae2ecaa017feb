"""The rooms of the code for the documentation: for each package a diagram of its imports and a table of its rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "indexing", "engine")
BOX_WIDTH, BOX_HEIGHT, GAP, ROW_HEIGHT = 178, 34, 12, 84  # pixels
BOXES_PER_ROW = 4
COLOURS = {"api": "#00796b", "indexing": "#3949ab", "engine": "#8d6e63"}


def rooms() -> dict[str, list[Path]]:
    """Dotted name of each room -> its files, without `__init__.py`."""
    files: dict[str, list[Path]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__init__.py":
                files.setdefault(".".join(path.parent.relative_to(ROOT).parts), []).append(path)
    return files


def imports() -> dict[str, set[str]]:
    """Room -> the rooms that its files import. The files at the top of a package count as one room."""
    files = rooms()
    imported: dict[str, set[str]] = {room: set() for room in files}
    for room, paths in files.items():
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    candidates = (node.module, node.module.rpartition(".")[0])
                    target = next((name for name in candidates if name in files), None)
                    if target is not None and target != room:
                        imported[room].add(target)
    return imported


def page() -> Iterator[str]:
    """A diagram and a table for each package, as Markdown."""
    for package in PACKAGES:
        yield f"\n## {package}\n"
        yield f"![The rooms of {package}; a line leads from a room to a room that it imports](rooms-{package}.svg)\n"
        yield from ("| room | contents | files |", "|---|---|---|")
        for room, paths in sorted(rooms().items()):
            if room.split(".")[0] == package:
                text = ast.get_docstring(ast.parse((paths[0].parent / "__init__.py").read_text())) or ""
                names = ", ".join(f"`{path.stem}`" for path in paths)
                yield f"| `{_label(room)}` | {' '.join(text.split())} | {names} |"


def diagram(package: str) -> str:
    """An SVG of the rooms of a package. Each is drawn above all rooms that it imports.

    A line is left out where a longer path of lines says the same.
    """
    is_drawn = {room for room in rooms() if room.startswith(f"{package}.")}  # not the files at the top
    below = {room: imported & is_drawn for room, imported in imports().items() if room in is_drawn}
    depths = _depths(below)
    positions: dict[str, tuple[int, int]] = {}
    n_rows, width = 0, BOXES_PER_ROW * (BOX_WIDTH + GAP) + GAP
    for depth in range(max(depths.values()) + 1):
        level = sorted(room for room, at in depths.items() if at == depth)
        for start in range(0, len(level), BOXES_PER_ROW):
            row = level[start : start + BOXES_PER_ROW]
            left = (width - len(row) * (BOX_WIDTH + GAP) + GAP) // 2
            positions |= {room: (left + n * (BOX_WIDTH + GAP), GAP + n_rows * ROW_HEIGHT) for n, room in enumerate(row)}
            n_rows += 1
    lines = [_line(positions[room], positions[target]) for room in below for target in _direct(room, below)]
    boxes = [_box(room, *position) for room, position in positions.items()]
    height = n_rows * ROW_HEIGHT - (ROW_HEIGHT - BOX_HEIGHT) + 2 * GAP
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{"".join(lines + boxes)}</svg>'


def _label(room: str) -> str:
    """`cli/learn` for `api.cli.learn`; the package itself for its top."""
    package, _, rest = room.partition(".")
    return rest.replace(".", "/") or package


def _depths(below: Mapping[str, set[str]]) -> dict[str, int]:
    """Room -> the length of the longest path of imports that leads to it."""
    importers = {room: [other for other, imported in below.items() if room in imported] for room in below}
    depths: dict[str, int] = {}

    def depth(room: str) -> int:
        if room not in depths:
            depths[room] = 1 + max((depth(importer) for importer in importers[room]), default=-1)
        return depths[room]

    for room in below:
        depth(room)
    return depths


def _direct(room: str, below: Mapping[str, set[str]]) -> set[str]:
    """The imports of a room that none of its other imports leads to."""

    def reachable(start: str) -> set[str]:
        return set().union(*({target} | reachable(target) for target in below[start]))

    return below[room] - set().union(*(reachable(target) for target in below[room]))


def _box(room: str, x: int, y: int) -> str:
    colour = COLOURS[room.split(".")[0]]
    return (
        f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{colour}"/>'
        f'<text x="{x + BOX_WIDTH / 2}" y="{y + 22}" fill="white" font-family="sans-serif" font-size="12" '
        f'text-anchor="middle">{escape(_label(room))}</text>'
    )


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y = start[0] + BOX_WIDTH / 2, start[1] + BOX_HEIGHT
    end_x = end[0] + BOX_WIDTH / 2
    return (
        f'<path d="M{x} {y} C{x} {y + 25} {end_x} {end[1] - 25} {end_x} {end[1]}" '
        f'fill="none" stroke="#90a4ae" stroke-width="1.2"/>'
    )
