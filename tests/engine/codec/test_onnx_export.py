"""The exported model gives the same vectors, codes and records under onnxruntime, for every embedder."""

import json

import numpy as np
import onnxruntime
import pytest

from engine.codec.onnx_export import decoder_onnx, encoder_onnx
from engine.embedders.feature_embedders import registry
from engine.learning.train_features import train_features
from engine.values.features import Column, Features

PAIRS = {"dim": 4, "slot_dim": 2, "codes": 16, "epochs": 2, "hidden": 16}  # two codes of two dimensions each
PARAMS = {
    name: {"dim": 2, **({} if name == "pca" else {"epochs": 2, "hidden": 16})} for name in registry.FEATURE_EMBEDDERS
}


@pytest.mark.parametrize("world", ["sensors", "curved"])
@pytest.mark.parametrize("name", ["pca", "autoencoder", "vqvae", "pairs"])
def test_onnxruntime_gives_what_numpy_gives(name, world, request):
    features = request.getfixturevalue(world)
    if name == "pca":  # also with a dropped column
        columns = (*features.columns, Column("still"))
        features = Features(features.ids, columns, np.column_stack([features.values, np.full(len(features), 7.0)]))
    params, name = (PAIRS, "vqvae") if name == "pairs" else (PARAMS[name], name)
    codec = train_features(features, registry.make(name, params)).codec
    encoder = onnxruntime.InferenceSession(encoder_onnx(codec))
    found = dict(
        zip([each.name for each in encoder.get_outputs()], encoder.run(None, {"values": features.values}), strict=True)
    )
    expected = codec.encode(features.values)
    assert found["vectors"].dtype == np.float32
    assert np.abs(found["vectors"] - expected).max() < 1e-4
    if name == "vqvae":
        assert np.array_equal(found["codes"], codec.core.codes(codec.preprocessing.apply(features.values)))
    decoder = onnxruntime.InferenceSession(decoder_onnx(codec))
    [records] = decoder.run(None, {"vectors": expected})
    assert np.allclose(records, codec.decode(expected), rtol=1e-5, atol=1e-4)
    described = encoder.get_modelmeta().custom_metadata_map
    assert [column["name"] for column in json.loads(described["columns"])] == [each.name for each in codec.columns]
    assert described["embedder"] == name
