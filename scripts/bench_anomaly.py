"""Anomaly detection: every feature embedder with the product's own anomaly score, beside other libraries.

The folder has ADBench sets (NAME.npz with X (n, d) and y, 1 for an anomaly). As in ADBench, semi-supervised: methods
are fitted on half of the normal records and scored on the other half and all anomalies. Labels are used for the metrics
only. `features` is the product's own choice of embedder. One JSON line per set and method, with means over seeds; the
last line has means over sets.

A folder with skab.parquet is SKAB: the first 400 records of each run are the training part, the rest is tested at a
false-alarm rate of 1% on the training records, on the median of the last five scores, as in SKAB's own detectors.

    python scripts/bench_anomaly.py --data FOLDER --json
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from engine.codec import preprocessing
from engine.codec.feature_codec import FeatureCodec
from engine.embedders.feature_embedders import registry
from engine.embedders.feature_embedders.registry import AUTO_FEATURES, FEATURE_EMBEDDERS
from engine.latent_analysis import anomalies
from engine.learning.train_features import train_features
from engine.values.features import Column, Features
from engine.values.ids import IdMap

Score = Callable[[npt.NDArray], npt.NDArray]
Learn = Callable[[npt.NDArray, int], Score]
SCALED = {  # PyOD methods on distances, densities and neighbours, which lead in the semi-supervised setting
    "pyod_knn": ("knn", "KNN", {}),
    "pyod_knn_mean": ("knn", "KNN", {"method": "mean"}),
    "pyod_cblof": ("cblof", "CBLOF", {}),
    "pyod_ocsvm": ("ocsvm", "OCSVM", {}),
    "pyod_mcd": ("mcd", "MCD", {}),
    "pyod_gmm": ("gmm", "GMM", {}),
    "pyod_inne": ("inne", "INNE", {}),
    "pyod_lunar": ("lunar", "LUNAR", {}),
}
PEERS = ("isolation_forest", "lof", "neighbours", "pyod_ecod", "pyod_autoencoder", *SCALED)
TRAINED, WINDOW, RATE = 400, 5, 0.01  # SKAB: training records, scores per median, allowed false alarms
NOT_SENSORS = ("file", "datetime", "anomaly", "changepoint")


def main() -> None:
    args = _arguments()
    warnings.filterwarnings("ignore", module=r"pyod|sklearn|torch")
    bench = _skab if (args.data / "skab.parquet").exists() else _adbench
    for row in bench(args):
        print(json.dumps(row) if args.json else _text(row), flush=True)


def _adbench(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    files = [file for file in sorted(args.data.glob("*.npz")) if not args.only or args.only in file.stem]
    if not files:
        raise SystemExit(f"bench_anomaly: expected NAME.npz or skab.parquet in {args.data}, found neither")
    rows: list[dict[str, Any]] = []
    for file in files:
        found = np.load(file)
        values, odd = found["X"].astype(np.float64), found["y"] == 1
        for method in args.methods:
            figures = []
            for seed in range(args.seeds):
                normal, asked, truth = _halves(values, odd, seed)
                started = time.perf_counter()
                score = learner(method)(normal, seed)
                seconds = time.perf_counter() - started
                scores = score(asked)
                figures.append((roc_auc_score(truth, scores), average_precision_score(truth, scores), seconds))
            auc, precision, seconds = np.mean(figures, axis=0)
            rows.append({"data": file.stem, "method": method, "auc_roc": round(auc, 4)})
            rows[-1] |= {"average_precision": round(precision, 4), "fit_seconds": round(seconds, 3)}
            yield rows[-1]
    yield {"summary": {method: _means(rows, method) for method in args.methods}, "default": AUTO_FEATURES}


def _means(rows: list[dict[str, Any]], method: str) -> dict[str, float]:
    own = [row for row in rows if row["method"] == method]
    return {
        f"mean_{name}": round(float(np.mean([r[name] for r in own])), 4) for name in ("auc_roc", "average_precision")
    }


def _halves(
    values: npt.NDArray, odd: npt.NDArray[np.bool_], seed: int
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray[np.bool_]]:
    """Half of the normal records; the other half with all anomalies; and the labels of those."""
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~odd))
    half = len(normal) // 2
    asked = np.concatenate([normal[half:], np.flatnonzero(odd)])
    return values[normal[:half]], values[asked], odd[asked]


def _skab(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """F1, and false and missed alarms in percent, over the records of all runs together."""
    table = pl.read_parquet(args.data / "skab.parquet")
    runs = [
        run for (name,), run in table.group_by("file", maintain_order=True) if not str(name).startswith("anomaly-free")
    ]
    sensors = [name for name in table.columns if name not in NOT_SENSORS]
    for method in args.methods:
        truth, told, seconds = [], [], 0.0
        for run in runs:
            values = run.select(sensors).to_numpy()
            started = time.perf_counter()
            alarms = _alarms(method, values)
            seconds += time.perf_counter() - started
            told.append(alarms[TRAINED:])
            truth.append(run["anomaly"].to_numpy()[TRAINED:] == 1)
        yield {"data": "skab", "method": method} | _rates(np.concatenate(truth), np.concatenate(told), seconds)


def _alarms(method: str, values: npt.NDArray) -> npt.NDArray[np.bool_]:
    if method in PEERS:
        score = learner(method)(values[:TRAINED], 0)
        threshold = float(np.quantile(score(values[:TRAINED]), 1 - RATE))
        scores = score(values)
    else:
        found = anomalies.anomalies(_codec(method, values[:TRAINED], 0), values, false_alarm_rate=RATE)
        scores, threshold = found.scores, found.threshold
    return np.array([np.median(scores[max(0, at + 1 - WINDOW) : at + 1]) for at in range(len(scores))]) > threshold


def _rates(truth: npt.NDArray[np.bool_], told: npt.NDArray[np.bool_], seconds: float) -> dict[str, float]:
    hit, missed, false = int((truth & told).sum()), int((truth & ~told).sum()), int((~truth & told).sum())
    return {
        "f1": round(2 * hit / max(2 * hit + missed + false, 1), 4),
        "false_alarm_percent": round(100 * false / max(int((~truth).sum()), 1), 2),
        "missed_alarm_percent": round(100 * missed / max(int(truth.sum()), 1), 2),
        "seconds": round(seconds, 2),
    }


def learner(method: str) -> Learn:
    """A function that fits on normal records with a seed and returns a score; higher is more anomalous."""
    return _peer(method) if method in PEERS else lambda values, seed: _scores(_codec(method, values, seed))


def _scores(codec: FeatureCodec) -> Score:
    return lambda values: anomalies.anomalies(codec, values).scores


def _codec(method: str, values: npt.NDArray, seed: int) -> FeatureCodec:
    """The product's own codec, fitted on normal records."""
    columns = tuple(Column(f"column {at}") for at in range(values.shape[1]))
    features = Features(IdMap(str(row) for row in range(len(values))), columns, values)
    if method == AUTO_FEATURES:
        return train_features(features, None, seed=seed, keep_constant=True).codec
    prepared_by = preprocessing.fit(features, keep_constant=True)
    prepared = prepared_by.apply(values)
    core = registry.make(method).fit(prepared, seed=seed)
    return FeatureCodec(method, prepared_by, core, anomalies.learn_normal(core, prepared, seed=seed))


def _peer(method: str) -> Learn:
    """A method of scikit-learn or PyOD with its defaults; on standardised columns if it compares columns."""
    if method in SCALED:
        return _scaled(*SCALED[method])
    if method == "isolation_forest":
        from sklearn.ensemble import IsolationForest

        return lambda values, seed: _negative(IsolationForest(random_state=seed).fit(values).score_samples)
    if method == "lof":
        from sklearn.neighbors import LocalOutlierFactor

        return _after_scaling(lambda values, _: _negative(LocalOutlierFactor(novelty=True).fit(values).score_samples))
    if method == "neighbours":
        from sklearn.neighbors import NearestNeighbors

        return _after_scaling(lambda values, _: _mean_distance(NearestNeighbors().fit(values)))
    if method == "pyod_ecod":
        from pyod.models.ecod import ECOD

        return lambda values, _: ECOD().fit(values).decision_function
    from pyod.models.auto_encoder import AutoEncoder

    return lambda values, seed: AutoEncoder(verbose=0, random_state=seed).fit(values).decision_function


def _scaled(module: str, name: str, options: dict[str, Any]) -> Learn:
    """A method of PyOD, seeded if it takes a seed."""
    made = getattr(importlib.import_module(f"pyod.models.{module}"), name)
    takes_seed = "random_state" in inspect.signature(made).parameters

    def learn(values: npt.NDArray, seed: int) -> Score:
        seeded = {"random_state": seed} if takes_seed else {}
        score: Score = made(**options, **seeded).fit(values).decision_function
        return score

    return _after_scaling(learn)


def _after_scaling(learn: Learn) -> Learn:
    from sklearn.preprocessing import StandardScaler

    def scaled(values: npt.NDArray, seed: int) -> Score:
        scaler = StandardScaler().fit(values)
        score = learn(scaler.transform(values), seed)
        return lambda asked: score(scaler.transform(asked))

    return scaled


def _mean_distance(neighbours: Any) -> Score:
    return lambda values: neighbours.kneighbors(values)[0].mean(axis=1)


def _negative(score: Score) -> Score:
    return lambda values: -score(values)


def _text(row: dict[str, Any]) -> str:
    if "summary" in row:
        lines = [f"{method:>18}  {means}" for method, means in row["summary"].items()]
        return "\n".join(["means over the sets; the product's choice is " + row["default"], *lines])
    return "  ".join(f"{name} {value}" for name, value in row.items())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only", metavar="TEXT", help="only sets with this in their name")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[AUTO_FEATURES, *FEATURE_EMBEDDERS, *PEERS],
        choices=[AUTO_FEATURES, *FEATURE_EMBEDDERS, *PEERS],
    )
    parser.add_argument("--seeds", type=int, default=1, help="number of splits and models per mean")
    parser.add_argument("--json", action="store_true", help="one JSON line per row")
    return parser.parse_args()


if __name__ == "__main__":
    main()
