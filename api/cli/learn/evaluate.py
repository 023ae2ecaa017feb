"""nearfield evaluate: how well an embedder, or each of two model versions, predicts held-out events."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from api.cli.learn.evaluation_tables import print_comparison, print_details, print_evaluation
from api.cli.terminal.options import Device, Embedder, Json, Seed, Set, SpaceName, opened, pairs
from api.cli.terminal.output import emit, out, progress, table
from engine.errors import InputError
from engine.store import events, models
from engine.values import splits
from engine.values.events import EventColumns, Weighting
from engine.values.splits import Split

SPLITS = ("time", "random", "last")


def add_to(app: typer.Typer) -> None:
    app.command()(evaluate)


def evaluate(
    embedder: Embedder = "auto",
    set_: Set = None,
    split: Annotated[
        str,
        typer.Option(
            help="Held-out events: time (the last tenth), random (a random tenth) or last (the last item of each user)."
        ),
    ] = "time",
    compare: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="Two model versions to compare, as 3 4. Both are fitted again on the same split.", show_default=False
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Learn from a part of the events and predict the rest.

    Prints recall@20, ndcg@20 and coverage with 95% intervals, beside popularity, recent popularity and item-kNN,
    then the figures of other k and of segments. Stores nothing. --compare prints the difference of two model versions
    with its interval and p.

    Example: `nearfield evaluate --embedder spectral --split last`
    """
    if split not in SPLITS:
        raise InputError(f"expected a --split of {', '.join(SPLITS)}, got {split!r}")
    if compare is not None:
        if embedder != "auto" or set_:
            raise InputError("--compare fits two versions with their own parameters; leave out --embedder and --set")
        _compare(compare, split, seed, device, space, json)
        return
    from engine.evaluation.dislike_weight import learn_dislike_weight
    from engine.evaluation.evaluate_embedder import evaluate_embedder
    from engine.learning.auto_select import embedder_or_chooser
    from engine.learning.train import choose_embedder

    embedder_or_auto = embedder_or_chooser(embedder, pairs(set_, "--set"))
    with opened(space) as (_, database, found), progress() as report:
        with database.connect() as conn:
            columns = events.read_columns(conn, found.key)
        options: dict[str, Any] = {"seed": seed, "device": device, "progress": report}
        split = _possible_split(split, columns)
        divided = _divided(columns, found.weighting, split, seed)
        validation = partial(_validation_split, divided, columns, found.weighting, split, seed)
        choice = choose_embedder(embedder_or_auto, validation, **options)
        dislikes = learn_dislike_weight(choice.embedder, divided.train, validation, **options)
        evaluation = evaluate_embedder(choice.embedder, divided, **options, dislikes=dislikes) | {"split": split}
        if choice.reason:
            evaluation["choice"] = choice.to_json()

    def show() -> None:
        print_evaluation(evaluation, choice.embedder.name)
        print_details(evaluation)

    emit(json, evaluation, show)


def _compare(versions: tuple[int, int], split: str, seed: int, device: str, space: str, json: bool) -> None:
    from engine.embedders.registry import make
    from engine.evaluation.evaluate_embedder import compare_embedders

    with opened(space) as (_, database, found), progress() as report:
        with database.connect() as conn:
            records = [models.get(conn, found.key, version) for version in versions]
            columns = events.read_columns(conn, found.key)
        params = [dict(record.params) for record in records]
        seeds = int(params[0].pop("seed", 0)), int(params[1].pop("seed", 0))
        first, second = (make(record.embedder, each) for record, each in zip(records, params, strict=True))
        split = _possible_split(split, columns)
        divided = _divided(columns, found.weighting, split, seed)
        body = compare_embedders(first, second, divided, seeds=seeds, device=device, progress=report)
    body = {"models": list(versions), "split": split} | body
    emit(json, body, lambda: _print_differences(body, records[0].embedder, records[1].embedder))


def _print_differences(body: Mapping[str, Any], first_embedder: str, second_embedder: str) -> None:
    if "first" not in body:
        out.print(body["note"])
        return
    versions = zip(body["models"], (first_embedder, second_embedder), strict=True)
    first, second = (f"{version} {embedder}" for version, embedder in versions)
    print_comparison(body, [(first, body["first"]), (second, body["second"])])
    rows = []
    for name in ("recall@20", "ndcg@20"):
        low, high = body[name]["interval"]
        rows.append((name, body[name]["difference"], f"{low:+.4f} to {high:+.4f}", body[name]["p"]))
    table(("", "difference", "95% interval", "p"), rows, f"{second} minus {first}")


def _possible_split(split: str, columns: EventColumns) -> str:
    """`random` in place of `time` where all events have one time."""
    return "random" if split == "time" and not splits.has_times(columns) else split


def _divided(columns: EventColumns, weighting: Weighting, split: str, seed: int) -> Split:
    if split == "random":
        return splits.events_at_random(columns, weighting, seed=seed)
    return splits.leave_last_out(columns, weighting) if split == "last" else splits.by_time(columns, weighting)


def _validation_split(divided: Split, columns: EventColumns, weighting: Weighting, split: str, seed: int) -> Split:
    """A split of the training part alone, on which the embedder and the weight of dislikes are chosen."""
    if split == "time":
        return splits.validation_split(columns, weighting, seed=seed)
    return splits.random_validation_split(divided, seed=seed)
