"""The rooms of the code for the documentation: what is in each, and a drawing of which imports which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "indexing", "engine")
WIDTH, HEIGHT, GAP, ROW = 178, 34, 12, 84  # of a box, between boxes, from row to row
PER_ROW = 6
COLOURS = {"api": "#00796b", "indexing": "#3949ab", "engine": "#8d6e63"}


def rooms() -> dict[str, list[Path]]:
    """Dotted name of each room -> its files, without `__init__.py`."""
    found: dict[str, list[Path]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__init__.py":
                found.setdefault(".".join(path.parent.relative_to(ROOT).parts), []).append(path)
    return found


def imports() -> dict[str, set[str]]:
    """Room -> the rooms that its files import; the files at the top of a package count as one room."""
    found = rooms()
    above: dict[str, set[str]] = {}
    for room, paths in found.items():
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    named = next(
                        (name for name in (node.module, node.module.rpartition(".")[0]) if name in found), None
                    )
                    if named is not None and named != room:
                        above.setdefault(room, set()).add(named)
    return above


def page() -> Iterator[str]:
    """A table of the rooms, as Markdown, beneath the drawing."""
    yield "\n![The rooms and what they import](rooms.svg)\n"
    for package in PACKAGES:
        yield f"\n## {package}\n"
        yield from ("| room | what is in it | files |", "|---|---|---|")
        for room, paths in rooms().items():
            if room.split(".")[0] == package:
                text = ast.get_docstring(ast.parse((paths[0].parent / "__init__.py").read_text())) or ""
                names = ", ".join(f"`{path.stem}`" for path in paths)
                yield f"| `{room.replace('.', '/')}` | {' '.join(text.split())} | {names} |"


def drawing() -> str:
    """An SVG: rooms in rows, each below all that import it; a line where no longer way says the same."""
    inner = {room: {each for each in imports().get(room, set()) if "." in each} for room in rooms() if "." in room}
    depths = _depths(inner)
    places, rows, width = {}, 0, PER_ROW * (WIDTH + GAP) + GAP
    for depth in range(max(depths.values()) + 1):
        row = sorted(room for room, at in depths.items() if at == depth)
        for start in range(0, len(row), PER_ROW):
            part = row[start : start + PER_ROW]
            left = (width - len(part) * (WIDTH + GAP) + GAP) // 2
            places |= {room: (left + at * (WIDTH + GAP), GAP + rows * ROW) for at, room in enumerate(part)}
            rows += 1
    lines = [_line(places[room], places[each]) for room in inner for each in _direct(room, inner)]
    boxes = [_box(room, *place) for room, place in places.items()]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {rows * ROW}">{"".join(lines + boxes)}</svg>'


def _depths(below: dict[str, set[str]]) -> dict[str, int]:
    """The longest way up from each room to one that none imports."""
    above = {room: [each for each, imported in below.items() if room in imported] for room in below}
    found: dict[str, int] = {}

    def depth(room: str) -> int:
        if room not in found:
            found[room] = 1 + max((depth(each) for each in above[room]), default=-1)
        return found[room]

    for room in below:
        depth(room)
    return found


def _direct(room: str, above: dict[str, set[str]]) -> set[str]:
    """What a room imports and none of its other imports leads to."""

    def reached(start: str) -> set[str]:
        return set().union(*({each} | reached(each) for each in above[start]))

    return above[room] - set().union(*(reached(each) for each in above[room]))


def _box(room: str, x: int, y: int) -> str:
    colour = COLOURS[room.split(".")[0]]
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colour}"/>'
        f'<text x="{x + WIDTH / 2}" y="{y + 22}" fill="white" font-family="sans-serif" font-size="12" '
        f'text-anchor="middle">{escape(room.replace(".", "/"))}</text>'
    )


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y = start[0] + WIDTH / 2, start[1] + HEIGHT
    return (
        f'<path d="M{x} {y} C{x} {y + 25} {end[0] + WIDTH / 2} {end[1] - 25} {end[0] + WIDTH / 2} {end[1]}" '
        f'fill="none" stroke="#90a4ae" stroke-width="1.2"/>'
    )
