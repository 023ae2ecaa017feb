"""The README is true: its first steps run, the files that pages name exist, and the overview is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import typer

from api.app import create_app
from api.cli.main import app
from api.messages.shelf_schemas import RecommendBody
from engine.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OVERVIEW = (ROOT / "docs" / "reference" / "overview.md").read_text()
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}


def test_the_first_recommendation_runs_as_written(tmp_path: Path) -> None:
    [script] = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NEARFIELD_")}
    done = subprocess.run(
        ["bash", "-euc", f"{script}\nnearfield search --item lamp --k 2"],
        cwd=tmp_path,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"lamp +Headlamp +0\.\d+ +history", done.stdout), done.stdout
    assert re.search(r"stove +Camping stove +1\.0+ +trending", done.stdout), done.stdout
    similar = re.findall(r"(\w+) +\S.*? +(-?\d\.\d+) +similar", done.stdout)
    assert [id_ for id_, _ in similar] == ["stove", "tent"], done.stdout  # tent and lamp share a user
    assert min(float(score) for _, score in similar) > 0.5


def test_every_command_is_in_the_overview() -> None:
    command = typer.main.get_command(app)
    missing = [name for name in command.commands if f"nearfield {name}" not in OVERVIEW]  # type: ignore[attr-defined]
    assert missing == []


def test_every_route_is_in_the_overview(tmp_path: Path) -> None:
    paths = create_app(Settings(home=tmp_path)).openapi()["paths"]
    missing = [path for path in paths if not re.search(re.escape(path) + r"[`,\s]", OVERVIEW)]
    assert missing == []


def test_every_parameter_of_a_shelf_is_in_the_overview() -> None:
    [row] = [line for line in OVERVIEW.splitlines() if line.startswith("| `GET` `POST /v1/{space}/recommend` |")]
    assert [name for name in RecommendBody.model_fields if f"`{name}`" not in row] == []


def test_every_file_that_is_named_exists() -> None:
    for text in (README, *PAGES.values()):
        named = re.findall(r"`((?:api|engine|indexing|migrations|operations|tests|docs)/[\w./-]+\w)`", text)
        for name in (*named, *re.findall(r"scripts/[\w./]+\w", text)):
            assert (ROOT / name).exists() or "NAME" in name, name
    for name in re.findall(r"\((docs/[^)]+)\)", README):
        assert (ROOT / name).exists(), name
