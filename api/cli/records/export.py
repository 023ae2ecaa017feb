"""nearfield export: the encoder and the decoder of a model as ONNX files."""

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
        Path | None,
        typer.Option("--onnx", help="Folder for encoder.onnx and decoder.onnx; created if needed.", show_default=False),
    ] = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Export encoder and decoder as ONNX files.

    The files include the preprocessing, so a device runs them with ONNX Runtime and without nearfield. Needs the extra
    `edge` and a model of feature records.

    Example: `nearfield export --space hall --onnx hall-model`
    """
    from engine.codec.onnx_export import decoder_onnx, encoder_onnx

    if folder is None:
        raise InputError("give --onnx FOLDER to write into")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder to write into")
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
    files = {"encoder.onnx": encoder_onnx(codec), "decoder.onnx": decoder_onnx(codec)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    sizes = {str(folder / name): len(content) for name, content in files.items()}
    line = ", ".join(f"{name} ({size:,} bytes)" for name, size in sizes.items())
    emit(json, {"model": version, "files": sizes}, lambda: out.print(line, markup=False))
