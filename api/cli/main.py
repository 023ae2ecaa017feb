"""nearfield: the command line. Every error is one sentence: exit 2 for wrong input, 1 for anything else."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

import typer

from api.cli.learn import evaluate, train, tune
from api.cli.operate import keys, serve, status
from api.cli.records import encode, export, import_features, interpolate, kpis, map
from api.cli.shop import demo, import_catalogue, recommend, users
from api.cli.terminal.output import err
from api.logs import configure
from engine.errors import InputError, NearfieldError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Vector search and recommendation engine for storefronts.",
)
GROUPS = {  # the panels of `--help`, in this order
    "Shop": (demo, recommend),
    "Learn": (train, evaluate, tune),
    "Serve": (serve,),
    "Records": (encode, interpolate, kpis, map, export),
    "Operate": (status,),
}
for panel, modules in GROUPS.items():
    known = len(app.registered_commands)
    for module in modules:
        module.add_to(app)
    for command in app.registered_commands[known:]:
        command.rich_help_panel = panel
app.add_typer(
    import_catalogue.app,
    name="import",
    help="Import events, items, users, features or vectors.",
    rich_help_panel="Shop",
)
import_features.add_to(import_catalogue.app)
app.add_typer(users.app, name="users", help="Erase a user for good; let an erased id in again.", rich_help_panel="Shop")
app.add_typer(keys.app, name="keys", help="API keys: create, list, revoke.", rich_help_panel="Operate")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the database is closed
    configure()
    try:
        sys.exit(_run())
    except typer.Abort:  # Ctrl-C
        _fail("stopped; nothing was left half done", 130)
    except typer.TyperException as error:  # a command, option or value that is not there
        if error.format_message():  # without a command the help was shown, and that is all
            _fail(error.format_message(), error.exit_code)
        sys.exit(error.exit_code)
    except NearfieldError as error:
        _fail(str(error), 2 if isinstance(error, InputError) else 1)
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:
        if os.environ.get("NEARFIELD_DEBUG"):
            raise
        _fail(f"{type(error).__name__}: {error} (NEARFIELD_DEBUG=1 shows where)", 1)


def _run() -> Any:
    """The command; under torchrun in its first process alone, whose learning the others share."""
    command = partial(app, standalone_mode=False)
    if "MASTER_ADDR" not in os.environ:
        return command()
    from engine.embedders.training import data_parallel

    return data_parallel.with_followers(command)


def _fail(message: str, code: int) -> None:
    line = message.strip().split("\n", 1)[0]  # the cause; a database adds its statement below
    err.print(f"error: {line}", style="red", markup=False, soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
