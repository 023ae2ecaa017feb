"""train, index, publish, rollback, reindex, weights, embedders."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Annotated, Any

import typer

from api.cli.learn import feature_training, kind_table
from api.cli.learn.evaluation_tables import evaluation_table
from api.cli.learn.feature_training import chosen, learns_from_features
from api.cli.terminal.options import Device, Embedder, Force, Json, Recipe, Seed, Set, SpaceName, opened, pairs
from api.cli.terminal.output import emit, out, progress, table
from engine.checkpoints import Checkpoints
from engine.errors import InputError, NotEnoughData
from engine.latent_space.space import Embedder as EventEmbedder
from engine.learning.auto_select import Auto
from engine.store import generations, models, spaces
from engine.store.models import ModelRecord
from engine.values.kind_synonyms import SYNONYMS

Normal = Annotated[
    str | None, typer.Option("--normal", help="Of feature records: learn only from those with this label.")
]
KeepConstant = Annotated[
    bool, typer.Option("--keep-constant", help="Of feature records: learn from columns that never change too.")
]

JUDGED_BY = {"new": "items new to the user", "any": "any item, bought before or not"}


def add_to(app: typer.Typer) -> None:
    for command in (train, index, publish, rollback, reindex, weights, embedders):
        app.command()(command)


def train(
    embedder: Embedder = "auto",
    set_: Set = None,
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
    normal: Normal = None,
    keep_constant: KeepConstant = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Learn from every event, or from feature records, evaluate, save a model version. Nothing is published."""
    from indexing.building.reindex import Reindexed, train_version
    from indexing.building.reindex_features import train_feature_version

    parameters = pairs(set_, "--set")
    with opened(space) as (settings, database, found), progress() as tell:
        options: dict[str, Any] = {"seed": seed, "device": device, "progress": tell}
        trained: Reindexed
        if learns_from_features(database, found, embedder):
            of_records: dict[str, Any] = {"normal": normal, "keep_constant": keep_constant}
            trained = train_feature_version(database, found, chosen(embedder), parameters, **options, **of_records)
        else:
            _check_of_events(normal, keep_constant)
            kept = Checkpoints(settings.checkpoints / space)
            options |= {"force": force, "checkpoints": kept}
            trained = train_version(database, found, _made(embedder, parameters, kept), **options)

    def show() -> None:
        _show_resumed(trained)
        _show_record(trained.record, trained.fit_seconds)
        record = trained.record
        better = "next: nearfield index" if record.publishable else "worse than popularity, so not to be published"
        out.print(better)

    emit(json, trained.to_json(), show)


def index(
    model: Annotated[int | None, typer.Option(help="Model version; the newest if left away.")] = None,
    recipe: Recipe = "auto",
    device: Device = "cpu",
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Build and verify a generation of a model version. It is served once published."""
    from indexing.building.build import build_generation

    with opened(space) as (settings, database, found), progress() as tell:
        with database.connect() as conn:
            newest = models.latest(conn, found.key)
        version = model if model is not None else (newest.version if newest else None)
        if version is None:
            raise NotEnoughData("there is no model yet; run `nearfield train`")
        name = build_generation(
            database, found, version, settings.generations, recipe=recipe, device=device, progress=tell
        )
        with database.connect() as conn:
            indexes = generations.get(conn, found.key, name).manifest["indexes"]
    body = {"generation": name, "model": version, "indexes": indexes}

    def show() -> None:
        rows = [(label, each["factory"], each["effort"] or None, each["recall@20"]) for label, each in indexes.items()]
        table(("index", "recipe", "effort", "recall@20"), rows)
        curve = [tuple(point.values()) for point in indexes["metric"]["curve"]]
        if curve:
            out.print("what was measured on a sample to find the recipe:")
            names = ("recipe", "effort", "recall@20", "surely", "us", "us for all", "build s")
            table(names, curve)
        out.print(f"generation {name} of model {version}; next: nearfield publish")

    emit(json, body, show)


def publish(
    generation: Annotated[str | None, typer.Argument(help="The newest if left away.", show_default=False)] = None,
    force: Force = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Serve a generation; running servers swap to it within a second."""
    from indexing.building import publish as publishing
    from indexing.building.reindex import check_publishable

    with opened(space) as (settings, database, found):
        with database.connect() as conn:
            newest = generations.list_all(conn, found.key)[:1]
            name = generation or (newest[0].generation if newest else None)
            if name is None:
                raise NotEnoughData("there is no generation yet; run `nearfield index`")
            record = models.get(conn, found.key, generations.get(conn, found.key, name).model)
        if not force:
            check_publishable(record)
        publishing.publish(database, found, name, settings.generations)
    emit(json, {"generation": name, "model": record.version}, lambda: out.print(f"{name} is served"))


def rollback(space: SpaceName = "default", json: Json = False) -> None:
    """Serve the generation that was served before."""
    from indexing.building.publish import rollback as roll

    with opened(space) as (settings, database, found):
        name = roll(database, found, settings.generations)
    emit(json, {"generation": name}, lambda: out.print(f"{name} is served again"))


def reindex(
    embedder: Embedder = "auto",
    set_: Set = None,
    recipe: Recipe = "auto",
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
    normal: Normal = None,
    keep_constant: KeepConstant = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Train, index, verify and publish in one go: the command for a nightly job."""
    from indexing.building.reindex import Reindexed, check_publishable
    from indexing.building.reindex import reindex as run
    from indexing.building.reindex_features import reindex_features

    parameters = pairs(set_, "--set")
    with opened(space) as (settings, database, found), progress() as tell:
        options: dict[str, Any] = {"recipe": recipe, "seed": seed, "device": device, "progress": tell}
        done: Reindexed
        if learns_from_features(database, found, embedder):
            options |= {"normal": normal, "keep_constant": keep_constant}
            done = reindex_features(database, found, chosen(embedder), settings.generations, parameters, **options)
        else:
            _check_of_events(normal, keep_constant)
            kept = Checkpoints(settings.checkpoints / space)
            options |= {"force": force, "checkpoints": kept}
            done = run(database, found, _made(embedder, parameters, kept), settings.generations, **options)

    def show() -> None:
        _show_resumed(done)
        _show_record(done.record, done.fit_seconds)
        if done.generation is not None:
            out.print(f"generation {done.generation} built and published in {done.index_seconds:.2f} s")

    emit(json, done.to_json(), show)
    check_publishable(done.record)


def weights(
    kind: Annotated[list[str] | None, typer.Option(help="Weight of a kind, as purchase=5; repeatable.")] = None,
    other: Annotated[float | None, typer.Option(help="Weight of kinds that are not listed.")] = None,
    half_life_days: Annotated[
        float | None, typer.Option(help="Age at which an event counts half; 0 for never.")
    ] = None,
    value: Annotated[str | None, typer.Option(help="How a quantity counts: ignore, log, linear.")] = None,
    repeat: Annotated[
        str | None, typer.Option(help="How events of one item add up: sum, log, binary (once, whatever they are).")
    ] = None,
    predict: Annotated[
        str | None, typer.Option(help="What models are judged by: new to the user, or any, bought before as well.")
    ] = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Show or change what events are worth in a space; the next training and the next answer use it.

    A kind stands for all it is called, whatever the case and what separates words; `--kind` also takes those words.
    """
    with opened(space) as (_, database, found):
        now = found.weighting
        kinds = kind_table.changed(now.kinds, {name: _number(text) for name, text in pairs(kind, "--kind").items()})
        given: dict[str, Any] = {"other": other, "value": value, "repeat": repeat, "predict": predict}
        given = {name: each for name, each in given.items() if each is not None}
        if half_life_days is not None:
            given["half_life_days"] = half_life_days or None
        changed = replace(now, kinds=kinds, **given)
        if changed != now:
            with database.begin() as conn:
                spaces.set_weighting(conn, found, changed)
    body: dict[str, Any] = {field.name: getattr(changed, field.name) for field in fields(changed)} | {"kinds": kinds}
    body["synonyms"] = {kind: words.split() for kind, words in SYNONYMS.items()}

    def show() -> None:
        table(kind_table.NAMES, kind_table.rows(changed))
        half_life = f"{changed.half_life_days:g} days" if changed.half_life_days else "none, old events count in full"
        out.print(f"half-life: {half_life}; value: {changed.value}; repeat: {changed.repeat}")
        if changed.repeat == "binary":
            out.print("an item counts once, whatever kind, value or age of events leaves it above zero")
        out.print(f"models are judged by {JUDGED_BY[changed.predict]}")

    emit(json, body, show)


def embedders(json: Json = False) -> None:
    """List the ways to learn: what each learns from and can do, then their parameters and defaults."""
    from engine.embedders.feature_embedders import registry
    from engine.embedders.registry import EMBEDDERS, make

    made: dict[str, tuple[str, Any]] = {name: ("events", make(name)) for name in EMBEDDERS}
    made |= {name: ("features", registry.make(name)) for name in registry.DENSE}
    found = {name: _parameters(each) for name, (_, each) in made.items()}
    abilities = {name: {"learns_from": source} | asdict(each.abilities) for name, (source, each) in made.items()}

    def show() -> None:
        columns = next(iter(abilities.values()))
        table(("embedder", *columns), [(name, *each.values()) for name, each in abilities.items()])
        out.print()
        rows = [(name, key, str(value)) for name, each in found.items() for key, value in each.items()]
        table(("embedder", "parameter", "default"), rows)

    emit(json, {"embedders": found, "abilities": abilities}, show)


def _made(embedder: str, parameters: dict[str, str], checkpoints: Checkpoints) -> EventEmbedder | Auto:
    from engine.learning.auto_select import chooser

    return chooser(embedder, parameters, checkpoints)


def _check_of_events(normal: str | None, keep_constant: bool) -> None:
    if normal is not None or keep_constant:
        raise InputError("--normal and --keep-constant go with embedders of feature records, not of events")


def _show_resumed(made: object) -> None:
    for sentence in getattr(made, "resumed", ()):
        out.print(f"a training that was stopped before: {sentence}", markup=False)


def _show_record(record: ModelRecord, fit_seconds: float) -> None:
    if "kpis" in record.evaluation:
        feature_training.show(record.evaluation)
    else:
        evaluation_table(record.evaluation, record.embedder)
    out.print(f"model {record.version}: {record.embedder}, {record.dim} dimensions, fitted in {fit_seconds:.2f} s")


def _parameters(made: Any) -> dict[str, Any]:
    return {field.name: getattr(made, field.name) for field in fields(made)}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"a weight is a number, got {text!r}") from None
