"""One contract for every dense embedder: numpy restores what torch made, a seed repeats, and pca is beaten or named."""

import numpy as np
import pytest
import torch
from safetensors import numpy as safetensors

from engine.codec import encoder_decoder, preprocessing
from engine.codec import feature_codec as codecs
from engine.codec.feature_codec import FeatureCodec
from engine.embedders.feature_embedders import registry
from engine.errors import InputError, TrainingFailed
from engine.latent_analysis.anomalies import learn_normal
from engine.learning.train_features import compare_with_pca, reconstruction_error, train_features

QUICK = {"dim": 2, "epochs": 40, "hidden": 64, "batch": 64, "learning_rate": 3e-3}
NETWORKS = {name: QUICK for name in registry.FEATURE_EMBEDDERS if name != "pca"}
PARAMS = {"pca": {"dim": 2}, **NETWORKS}


@pytest.fixture(scope="module")
def prepared(curved):
    return preprocessing.fit(curved).apply(curved.values)


@pytest.fixture(scope="module")
def fitted(prepared):
    return {name: registry.make(name, params).fit(prepared, seed=1) for name, params in PARAMS.items()}


@pytest.mark.parametrize("name", registry.FEATURE_EMBEDDERS)
def test_a_stored_core_encodes_and_decodes_bit_for_bit_as_the_fitted_one(name, fitted, prepared):
    core = fitted[name]
    kind, arrays = core.state()
    again = encoder_decoder.restore(kind, safetensors.load(safetensors.save(dict(arrays))))
    latent = core.encode(prepared)
    assert latent.shape == (len(prepared), 2)
    assert latent.dtype == np.float32
    assert np.array_equal(again.encode(prepared), latent)
    assert np.array_equal(again.decode(latent), core.decode(latent))


@pytest.mark.parametrize("name", registry.FEATURE_EMBEDDERS)
def test_its_space_has_the_declared_abilities(name, make_features):
    draw = np.random.default_rng(4)
    records = make_features(draw.standard_normal((60, 2)) @ draw.standard_normal((2, 5)))
    made = registry.make(name, {"dim": 2} if name == "pca" else PARAMS[name] | {"epochs": 2})
    declared, space = made.abilities, train_features(records, made).space
    assert (space.metric, space.fold_in.state()[0]) == (declared.metric, declared.fold_in)
    assert declared.codec
    assert space.codec.decode(space.codec.encode(records.values)).shape == records.values.shape
    assert not declared.resumable
    with pytest.raises(TypeError, match="unexpected keyword argument 'checkpoints'"):
        made.fit(records.values.astype(np.float32), checkpoints=None)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU on this machine")
@pytest.mark.parametrize("name", registry.FEATURE_EMBEDDERS)
def test_it_learns_on_a_gpu_where_it_says_so(name, prepared):
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    registry.make(name, PARAMS[name]).fit(prepared, device="cuda")
    assert registry.make(name).abilities.gpu == (torch.cuda.max_memory_allocated() > before)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_beats_pca_of_its_dimension_where_records_lie_on_a_bent_sheet(name, fitted, prepared):
    assert reconstruction_error(fitted[name], prepared) < 0.9 * reconstruction_error(fitted["pca"], prepared)


@pytest.mark.parametrize("name", ["autoencoder", "vqvae"])
def test_the_same_seed_gives_the_same_core_and_another_does_not(name, prepared):
    made = registry.make(name, PARAMS[name] | {"epochs": 2})
    first, again, other = (made.fit(prepared, seed=seed).encode(prepared) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", registry.FEATURE_EMBEDDERS)
def test_a_model_samples_likely_records_or_names_the_models_that_can(name, fitted, prepared):
    core, draw = fitted[name], np.random.default_rng(3)
    if not registry.make(name).abilities.samples:
        with pytest.raises(InputError, match=f"{encoder_decoder.GENERATIVE} can"):
            core.sample(5, draw)
        return
    made = core.decode(core.sample(400, draw))
    near = ((made[:, None] - prepared[None]) ** 2).mean(axis=2).min(axis=1)
    shuffled = np.stack([draw.permutation(column) for column in prepared.T], axis=1)
    far = ((shuffled[:, None] - prepared[None]) ** 2).mean(axis=2).min(axis=1)
    assert np.median(near) < 0.5 * np.median(far)


def test_codes_of_a_vqvae_are_part_of_the_answer(fitted, prepared):
    core = fitted["vqvae"]
    codes = core.codes(prepared)
    assert codes.shape == (len(prepared), 2)
    assert 0 <= codes.min() <= codes.max() < 256
    assert np.array_equal(core.from_codes(codes), core.encode(prepared))
    assert (np.bincount(codes[:, 0], minlength=256) > 0).mean() > 0.5  # dead codes are revived
    looked_up = encoder_decoder.nearest_codes(
        core.encoder(prepared), core.codebook
    )  # one dimension a slot takes a short cut
    assert np.array_equal(core.from_codes(looked_up), core.from_codes(codes))


def test_a_vae_with_a_heavy_beta_uses_fewer_dimensions(prepared):
    quick = QUICK | {"dim": 6, "epochs": 30, "hidden": 32}
    light, heavy = (registry.make("vae", quick | {"beta": beta}).fit(prepared, seed=1).kl for beta in (0.1, 30))
    assert (heavy > 0.1).sum() < (light > 0.1).sum()


def test_training_that_diverges_stops_with_its_history(prepared):
    wild = registry.make("autoencoder", {"dim": 2, "epochs": 5, "learning_rate": 1e30})
    with pytest.raises(TrainingFailed, match=r"autoencoder diverged: .*held-out loss by epoch: .*Nothing was saved"):
        wild.fit(prepared, seed=0)


def test_a_network_that_does_not_beat_pca_says_so_and_the_choice_falls_back(make_features):
    draw = np.random.default_rng(0)
    straight = (draw.standard_normal((300, 3)) @ draw.standard_normal((3, 10))).astype(np.float32)
    weak = registry.make("denoising", {"dim": 3, "epochs": 1, "corruption": 0.9})
    found, kept = compare_with_pca(weak, straight, seed=0, device="cpu", keep_embedder=True)
    assert not found["beats_pca"]
    assert found["note"] == "denoising does not beat pca of 3 dimensions here; consider pca"
    assert kept is weak
    found, taken = compare_with_pca(weak, straight, seed=0, device="cpu", keep_embedder=False)
    assert taken.name == "pca"
    assert "so pca is used" in found["note"]


def test_the_default_is_chosen_by_size_and_explained():
    assert registry.choose_by_size(500, 100)[0] == "pca"
    assert registry.choose_by_size(50_000, 9)[0] == "pca"
    assert registry.choose_by_size(50_000, 100)[0] == "autoencoder"
    assert "500 records are few" in registry.choose_by_size(500, 100)[1]


def test_training_learns_everything_that_travels(sensors):
    made = train_features(sensors, registry.make("pca", {"dim": 3}))
    name, arrays = made.codec.state()
    again = codecs.restore(
        name, safetensors.load(safetensors.save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))
    )
    assert isinstance(again, FeatureCodec)
    assert again.columns == sensors.columns
    assert np.array_equal(again.encode(sensors.values), made.space.items.matrix)
    assert made.space.items.ids == sensors.ids
    assert np.array_equal(
        again.normal.scores, learn_normal(again.core, again.preprocessing.apply(sensors.values), seed=0).scores
    )
    assert made.evaluation["held_out_records"] == 40
    assert made.evaluation["choice"] == "pca: requested"


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("pcaa", {}, "expected an embedder of pca, autoencoder"),
        ("pca", {"depth": "3"}, "pca has no parameter 'depth'; it has dim"),
        ("vae", {"beta": "x"}, "expected a finite number for beta of vae"),
        ("vae", {"beta": "-1"}, "beta must be at least 0"),
        ("vqvae", {"dim": "3", "slot_dim": "2"}, "dim 3 is not a multiple of slot_dim 2"),
        ("autoencoder", {"learning_rate": "0"}, "learning_rate must be above 0"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(name, params, message):
    with pytest.raises(InputError, match=message):
        registry.make(name, params)
