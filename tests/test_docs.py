"""The documentation is true: its commands run as written and print what it shows, and no link in it is broken.

In a guide, a `bash` block runs. A `text` block after it shows what it prints: white space does not count, `...` stands
for any text, and numbers with a decimal point may differ.

What is shown holds at any hour and on a slow machine: no order of items may depend on whether a server has done its
work of every second, such as counting a new event in popularity. An example that needs such work waits for it.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import faiss
import pytest
import torch
import typer

from api.cli.main import app
from engine.settings import Settings
from engine.store.database.connections import open_database

ROOT = Path(__file__).parent.parent
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")}
PAGES["README.md"] = (ROOT / "README.md").read_text()
SESSIONS = (  # guides that run in one shell, in this order: a later one uses the shop and the server of the first
    ("first-shop",),
    ("recommend", "filters", "segments", "merchandising", "rules", "operate"),
    ("placements",),
    ("storefront-pages",),
    ("learn",),
    ("latent-spaces",),
    ("several-machines",),
    ("gpu",),
)
PORTS = ("8123", "8124")  # of the servers in the guides
DATABASE_URL = "postgresql://nearfield:secret@db.example/nearfield"
END = "=== end of block ==="
NUMBER = r"-?\d+\.\d+(e[-+]?\d+)?"


def blocks_of(guide: str) -> list[tuple[str, str | None]]:
    """(commands, what they print or None) of each `bash` block."""
    text = PAGES[f"docs/guides/{guide}.md"]
    found = re.findall(r"```bash\n(.*?)```\n(?:\s*```text\n(.*?)```)?", text, flags=re.DOTALL)
    return [(commands, shown or None) for commands, shown in found]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(script: str, folder: Path) -> str:
    """What a script prints; the servers that it leaves running are stopped."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NEARFIELD_")} | {"PATH": path}
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-euc", script],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    assert code == 0, output.read_text()
    return output.read_text()


def squeezed(text: str) -> str:
    return re.sub(NUMBER, "#", re.sub(r"\s+", " ", text)).replace(" ", "")


def matches(shown: str, printed: str) -> bool:
    parts = [re.escape(squeezed(part)) for part in shown.split("...")]
    return re.search(".*?".join(parts), squeezed(printed)) is not None


@pytest.mark.parametrize("guides", SESSIONS, ids="-".join)
def test_the_commands_of_the_guides_run_as_written_and_print_what_is_shown(
    guides: tuple[str, ...], tmp_path: Path
) -> None:
    if "gpu" in guides and not (hasattr(faiss, "StandardGpuResources") and torch.cuda.is_available()):
        pytest.skip("the commands of the GPU guide need a GPU")
    blocks = [(guide, *block) for guide in guides for block in blocks_of(guide)]
    script = "".join(f"{commands}\necho '{END}'\n" for _, commands, _ in blocks)
    for port in PORTS:
        script = script.replace(port, str(free_port()))
    # the embedded database of the guides stays open, so that no command has to start it
    with open_database(Settings(home=tmp_path / ".nearfield", database_url=None)) as database:
        printed = run(script.replace(DATABASE_URL, database.url), tmp_path).split(END)
    for (guide, commands, shown), output in zip(blocks, printed, strict=False):
        if shown is not None:
            assert matches(shown, output), f"{guide}: {commands}\nprints\n{output}\nshown\n{shown}"


def test_every_guide_has_commands_that_are_tested() -> None:
    guides = {Path(name).stem for name in PAGES if name.startswith("docs/guides/")}
    assert guides == {guide for session in SESSIONS for guide in session}
    assert [guide for guide in guides if not blocks_of(guide)] == []


def test_every_command_in_the_documentation_exists_with_its_options() -> None:
    root = typer.main.get_command(app)
    wrong = []
    for page, text in PAGES.items():
        fenced = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
        inline = re.findall(r"`(nearfield [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in [*inline, *(line for block in fenced for line in block.replace("\\\n", " ").splitlines())]:
            found = re.search(r"(?:^|[ $=])nearfield ((?:[a-z]).*)", line)
            if found and (problem := problem_of(root, found[1])):
                wrong.append(f"{page}: {line}: {problem}")
    assert wrong == []


def problem_of(root: Any, arguments: str) -> str | None:
    """Why the words after `nearfield` are no command with its options."""
    try:
        words = shlex.split(arguments.split(" #")[0])
    except ValueError:  # the rest of a quoted argument is on the next line
        words = arguments.split()
    command = root
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    used = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
    return f"no option {', '.join(used - options)}" if used - options else None


def test_the_documentation_builds_without_a_broken_link() -> None:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--clean"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    built = (ROOT / "build" / "docs" / "reference" / "cli.html").read_text()
    assert [text for text in ("nearfield recommend", "--exclude") if text not in built] == []
