"""The documentation is true: its commands run as written, and no link in it is broken."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDES = {path.stem: path.read_text() for path in sorted((ROOT / "docs" / "guides").glob("*.md"))}
RUNNING = {name: re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL) for name, text in GUIDES.items()}
PORT = "8123"  # of the servers in the guides


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(script: str, folder: Path) -> str:
    """What a script prints; the servers that it leaves are ended."""
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


@pytest.mark.parametrize("name", [name for name, blocks in RUNNING.items() if blocks])
def test_the_commands_of_a_guide_run_as_written(name: str, tmp_path: Path) -> None:
    told = run("\n".join(RUNNING[name]).replace(PORT, str(free_port())), tmp_path)
    expected = {
        "first-shop": r"lamp +Headlamp +0\.\d+ +history",
        "recommend": r'"item_id": ?"lamp"',
        "latent-spaces": r"pressure",
    }
    assert re.search(expected[name], told), told


def test_the_documentation_builds_without_a_broken_link() -> None:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--clean"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    built = (ROOT / "build" / "docs" / "reference" / "cli.html").read_text()
    assert [text for text in ("nearfield recommend", "--exclude") if text not in built] == []
