"""export: the encoder and the decoder of a model as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.records.record_sources import Model, model_codec
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out
from engine.errors import InputError


def add_to(app: typer.Typer) -> None:
    app.command(name="export")(export_model)


def export_model(
    folder: Annotated[
        Path | None, typer.Option("--onnx", help="Write encoder.onnx and decoder.onnx there.", show_default=False)
    ] = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Encoder and decoder with their preprocessing, for a device without nearfield."""
    from engine.codec.onnx_export import decoder_onnx, encoder_onnx

    if folder is None:
        raise InputError("give --onnx FOLDER to write into")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder to write into")
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
    made = {"encoder.onnx": encoder_onnx(codec), "decoder.onnx": decoder_onnx(codec)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in made.items():
        (folder / name).write_bytes(content)
    sizes = {str(folder / name): len(content) for name, content in made.items()}
    shown = ", ".join(f"{name} ({size:,} bytes)" for name, size in sizes.items())
    emit(json, {"model": version, "files": sizes}, lambda: out.print(shown, markup=False))
