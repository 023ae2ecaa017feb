"""Train on feature records: preprocess, compare with pca, refit on all records, compute the anomaly threshold."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np

from engine.codec import preprocessing
from engine.codec.encoder_decoder import Core
from engine.codec.feature_codec import FeatureCodec
from engine.embedders.feature_embedders import registry
from engine.embedders.feature_embedders.registry import FeatureEmbedder
from engine.latent_analysis.anomalies import learn_normal
from engine.latent_analysis.anomaly_value import detect
from engine.latent_analysis.kpis import measure
from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import LatentSpace
from engine.progress import Progress, no_progress
from engine.values.features import Features
from engine.values.ids import IdMap
from engine.values.vectors import Matrix, Vectors

HELD_OUT_SHARE = 0.1
MIN_RECORDS = 20  # below, a held-out error means nothing


@dataclass(frozen=True, eq=False)
class TrainedFeatures:
    space: LatentSpace
    codec: FeatureCodec
    embedder: str
    params: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    fit_seconds: float


def train_features(
    features: Features,
    embedder: FeatureEmbedder | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    keep_constant: bool = False,
    normal: str | None = None,
    progress: Progress = no_progress,
) -> TrainedFeatures:
    """Train a space of records; without `embedder` one is chosen by the size of the data, with the reason.

    With `normal` only records of this label are used for training, so that anomaly thresholds refer to them; all
    records get a vector. Raises InputError for records that cannot be used and TrainingFailed if training diverges.
    """
    progress("prepare", 0.0)
    learnt = features if normal is None else features.with_label(normal)
    prepared_by = preprocessing.fit(learnt, keep_constant=keep_constant)
    prepared = prepared_by.apply(learnt.values)
    chosen, reason = _choose_embedder(embedder, prepared)
    comparison, chosen = compare_with_pca(
        chosen, prepared, seed=seed, device=device, keep_embedder=embedder is not None
    )
    progress("fit on everything", 0.5)
    started = time.perf_counter()
    core = chosen.fit(prepared, seed=seed, device=device, progress=lambda what, at: progress(what, 0.5 + 0.4 * at))
    fit_seconds = time.perf_counter() - started
    progress("anomaly scores of the training records", 0.9)
    codec = FeatureCodec(chosen.name, prepared_by, core, learn_normal(core, prepared, seed=seed))
    latent = codec.encode(features.values)
    figures = measure(codec, features, learnt, seed=seed)
    worth = detect(codec, features, normal=normal, seed=seed)
    if worth is not None:
        figures["detection"] = worth
    dropped = preprocessing.dropped_message(prepared_by)
    comparison |= {} if dropped is None else {"dropped": dropped}
    evaluation = {"choice": reason, "learnt_from": len(learnt), **comparison, "kpis": figures}
    params: dict[str, Any] = asdict(chosen) if is_dataclass(chosen) and not isinstance(chosen, type) else {}
    space = feature_space(Vectors(features.ids, latent), codec)
    progress("done", 1.0)
    return TrainedFeatures(
        space, codec, chosen.name, params | {"seed": seed, "normal": normal}, evaluation, fit_seconds
    )


def feature_space(items: Vectors, codec: FeatureCodec | None) -> LatentSpace:
    """A space with the records as items; a user's vector is the mean of the records in the history."""
    ones = np.ones(len(items), np.float32), np.ones(items.dim, np.float32)
    no_users = Vectors(IdMap(()), np.zeros((0, items.dim), np.float32))
    return LatentSpace(items, no_users, "cosine", LinearFoldIn(items.matrix, *ones), codec)


def compare_with_pca(
    embedder: FeatureEmbedder, prepared: Matrix, *, seed: int, device: str, keep_embedder: bool
) -> tuple[dict[str, Any], FeatureEmbedder]:
    """Held-out errors of the embedder and of pca with as many dimensions, and the better embedder.

    With `keep_embedder` the given embedder is returned even if pca is better.
    """
    if len(prepared) < MIN_RECORDS:
        return {"note": f"{len(prepared)} records are too few for a held-out part"}, embedder
    order = np.random.default_rng(seed).permutation(len(prepared))
    n_held = int(HELD_OUT_SHARE * len(prepared))
    held, kept = prepared[order[:n_held]], prepared[order[n_held:]]
    core = embedder.fit(kept, seed=seed, device=device)
    error = reconstruction_error(core, held)
    found: dict[str, Any] = {"held_out_records": n_held, "held_out_error": error}
    if embedder.name == "pca":
        return found, embedder
    pca = registry.make("pca", {"dim": core.dim})
    theirs = reconstruction_error(pca.fit(kept, seed=seed), held)
    better = error < theirs
    found |= {"pca_held_out_error": theirs, "beats_pca": better, "error_reduction": 1 - error / max(theirs, 1e-30)}
    if better:
        return found, embedder
    found["note"] = f"{embedder.name} does not beat pca of {core.dim} dimensions here; consider pca"
    if keep_embedder:
        return found, embedder
    found["note"] = f"{embedder.name} was tried and does not beat pca of {core.dim} dimensions here, so pca is used"
    return found, pca


def reconstruction_error(core: Core, prepared: Matrix) -> float:
    """Mean squared error per preprocessed column, in units of the column's scale."""
    return float(np.mean((prepared - core.decode(core.encode(prepared))) ** 2))


def _choose_embedder(embedder: FeatureEmbedder | None, prepared: Matrix) -> tuple[FeatureEmbedder, str]:
    if embedder is not None:
        return embedder, f"{embedder.name}: requested"
    name, reason = registry.choose_by_size(*prepared.shape)
    return registry.make(name), reason
