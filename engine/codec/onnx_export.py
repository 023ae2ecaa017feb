"""Export: encoder and decoder with their preprocessing as ONNX, for devices without nearfield (extra `edge`).

Records are `values` (n, n_columns) float64 in the order of the columns: numbers in their own unit, a category as its
index in the list of the column, NaN for missing. The metadata of each file has the columns as JSON.
"""

from __future__ import annotations

import json

import numpy as np

from engine.codec.encoder_decoder import Core, LinearCore, NetworkCore, QuantisedCore
from engine.codec.feature_codec import FeatureCodec
from engine.codec.onnx_graph import DOUBLE, FLOAT, INT64, Graph
from engine.codec.perceptron import Perceptron
from engine.codec.preprocessing import MAX_SCALED, Preprocessing


def encoder_onnx(codec: FeatureCodec) -> bytes:
    """`values` -> `vectors` (n, dim) float32, and `codes` (n, n_slots) int64 if the model has a codebook.

    An unseen category has no index: its value must be NaN, and the encoder does not check that.
    """
    graph = Graph()
    outputs = {"vectors": (FLOAT, codec.dim)}
    prepared = _prepared(graph, codec.preprocessing)
    if isinstance(codec.core, QuantisedCore):
        outputs["codes"] = (INT64, len(codec.core.codebook))
    _encoded(graph, codec.core, prepared)
    return graph.model({"values": (DOUBLE, len(codec.columns))}, outputs, _metadata(codec))


def decoder_onnx(codec: FeatureCodec) -> bytes:
    """`vectors` (n, dim) float32 -> `values`, with the index of the most likely category."""
    graph = Graph()
    _inverted(graph, codec.preprocessing, _decoded(graph, codec.core))
    outputs = {"values": (DOUBLE, len(codec.columns))}
    return graph.model({"vectors": (FLOAT, codec.dim)}, outputs, _metadata(codec))


def _metadata(codec: FeatureCodec) -> dict[str, str]:
    columns = json.dumps([column.to_json() for column in codec.columns])
    return {"embedder": codec.embedder, "columns": columns}


def _prepared(graph: Graph, preprocessing: Preprocessing) -> str:
    """(n, width) float32, as `Preprocessing.apply`."""
    centred = graph.call("Sub", "values", graph.constant(preprocessing.mean[None]))
    scaled = graph.call("Div", centred, graph.constant(preprocessing.scale[None]))  # categories have mean 0 and scale 1
    scaled = graph.call("Clip", scaled, graph.constant(np.array(-MAX_SCALED)), graph.constant(np.array(MAX_SCALED)))
    numbers = graph.cast(graph.call("Where", graph.call("IsNaN", scaled), graph.constant(np.zeros(1)), scaled), FLOAT)
    if preprocessing.straight:
        return numbers
    parts = []
    for at, column in enumerate(preprocessing.columns):
        if preprocessing.dropped[at]:
            continue
        if column.categories is None:
            parts.append(graph.columns(numbers, at, at + 1))
            continue
        indices = graph.constant(np.arange(len(column.categories), dtype=np.float64)[None])
        parts.append(graph.cast(graph.call("Equal", graph.columns("values", at, at + 1), indices), FLOAT))
    return graph.call("Concat", *parts, axis=1)


def _encoded(graph: Graph, core: Core, prepared: str) -> None:
    if isinstance(core, LinearCore):
        latent = graph.call("MatMul", prepared, graph.constant(core.components.T))
        graph.call("Sub", latent, graph.constant((core.components @ core.mean)[None]), to="vectors")
    elif isinstance(core, NetworkCore):
        _perceptron(graph, core.encoder, prepared, to="vectors")
    elif isinstance(core, QuantisedCore):
        _quantised(graph, core, _perceptron(graph, core.encoder, prepared))


def _quantised(graph: Graph, core: QuantisedCore, latent: str) -> None:
    """The nearest entry of each slot's codebook, with the same choice among ties as `QuantisedCore.codes`."""
    n_slots, _, slot_dim = core.codebook.shape
    codes, parts = [], []
    for slot in range(n_slots):
        part = graph.columns(latent, slot * slot_dim, (slot + 1) * slot_dim)
        codes.append(_between(graph, core, slot, part) if slot_dim == 1 else _nearest(graph, core, slot, part))
        flat = graph.call("Squeeze", codes[-1], graph.constant(np.array([1], np.int64)))
        parts.append(graph.call("Gather", graph.constant(core.codebook[slot]), flat, axis=0))
    graph.call("Concat", *codes, to="codes", axis=1)
    graph.call("Concat", *parts, to="vectors", axis=1)


def _between(graph: Graph, core: QuantisedCore, slot: int, part: str) -> str:
    """(n, 1) codes of a slot of one dimension: the number of borders below the value."""
    order, borders = core.ranked
    is_above = graph.cast(graph.call("Greater", part, graph.constant(borders[slot][None])), INT64)
    rank = graph.call("ReduceSum", is_above, graph.constant(np.array([1], np.int64)), keepdims=1)
    return graph.call("Gather", graph.constant(order[slot]), rank, axis=0)


def _nearest(graph: Graph, core: QuantisedCore, slot: int, part: str) -> str:
    """(n, 1) codes of a slot of several dimensions, as `nearest_codes`."""
    entries = core.codebook[slot]
    product = graph.call("MatMul", part, graph.constant(2 * entries.T))
    distances = graph.call("Sub", graph.constant((entries**2).sum(axis=1)[None]), product)
    return graph.call("ArgMin", distances, axis=1, keepdims=1)


def _decoded(graph: Graph, core: Core) -> str:
    if isinstance(core, LinearCore):
        product = graph.call("MatMul", "vectors", graph.constant(core.components))
        return graph.call("Add", product, graph.constant(core.mean[None]))
    assert isinstance(core, NetworkCore | QuantisedCore)
    return _perceptron(graph, core.decoder, "vectors")


def _perceptron(graph: Graph, network: Perceptron, inputs: str, to: str | None = None) -> str:
    hidden = inputs
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        product = graph.call("MatMul", hidden, graph.constant(weight))
        hidden = graph.call("Relu", graph.call("Add", product, graph.constant(bias)))
    last = graph.call("MatMul", hidden, graph.constant(network.weights[-1]))
    last = graph.call("Add", last, graph.constant(network.biases[-1]))
    straight = graph.call("MatMul", inputs, graph.constant(network.straight))
    return graph.call("Add", last, straight, to=to)


def _inverted(graph: Graph, preprocessing: Preprocessing, prepared: str) -> None:
    """(n, n_columns) float64, as `Preprocessing.invert`."""
    wide = graph.cast(prepared, DOUBLE)
    parts = []
    for column, block, dropped in zip(preprocessing.columns, preprocessing.blocks, preprocessing.dropped, strict=True):
        first = block.start if not dropped else 0  # of a dropped column: any column times 0, plus its constant
        part = graph.columns(wide, first, first + 1 if dropped else block.stop)
        if dropped:
            part = graph.call("Mul", part, graph.constant(np.zeros(1)))
        elif column.categories is not None:
            part = graph.cast(graph.call("ArgMax", part, axis=1, keepdims=1), DOUBLE)
        parts.append(part)
    gathered = wide if preprocessing.straight else graph.call("Concat", *parts, axis=1)
    scaled = graph.call("Mul", gathered, graph.constant(preprocessing.scale[None]))
    graph.call("Add", scaled, graph.constant(preprocessing.mean[None]), to="values")
