"""The help of every command: one line for the list of commands, and an example that is valid."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from api.cli.main import GROUPS, app


def commands(group: Any, name: str = "nearfield") -> Iterator[tuple[str, Any]]:
    for part, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {part}")
        else:
            yield f"{name} {part}", command


ROOT = typer.main.get_command(app)
COMMANDS = dict(commands(ROOT))


def test_every_command_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(ROOT.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_line_of_the_help_is_short_and_the_example_is_valid(name: str) -> None:
    command = COMMANDS[name]
    first_line, *_ = command.help.split("\n\n")
    assert len(first_line) <= 64, first_line
    assert first_line.endswith("."), first_line
    [example] = re.findall(r"Example: `(.*)`", command.help)
    assert example.startswith(name), example
    arguments = shlex.split(example.removeprefix(name))
    command.make_context(name, arguments)  # raises for an unknown option, a missing argument or a value of another type


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_has_a_help(name: str) -> None:
    assert [each.name for each in COMMANDS[name].params if not getattr(each, "help", None)] == []
