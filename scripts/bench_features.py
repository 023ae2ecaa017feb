"""Feature embedders on images: reconstruction error, label accuracy and encoding speed at a few dimensions.

Needs a folder with train-10k.npz (x (n, 28, 28), y) and the IDX files t10k-images and t10k-labels. Every feature
embedder and scikit-learn's PCA learn from the training images. Test images give the reconstruction error, in pixels of
0 to 1, and the share of images whose label is the most common one among their 10 nearest training images.
`encode_rows_per_s` counts raw float32 rows through the codec as the server runs it; `ratio_to_torch` compares it, in
turns, with a plain torch forward pass of the same layers. With --http also the rows per second of POST /encode, 1,000
images a request.

    python scripts/bench_features.py --data FOLDER --json
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from encode_http import encoding_server
from torch import nn

from engine.codec import preprocessing
from engine.codec.encoder_decoder import Core, LinearCore
from engine.codec.feature_codec import FeatureCodec
from engine.embedders.feature_embedders import registry
from engine.latent_analysis import anomalies
from engine.values.features import Column, Features
from engine.values.ids import IdMap
from engine.values.vectors import Matrix

REFERENCE = "sklearn_pca"
NEIGHBOURS, ROUNDS = 10, 15


def main() -> None:
    args = _arguments()
    pixels = (255 * _images(args.data)[2]).round().astype(np.uint8)
    with encoding_server(pixels) if args.http else nullcontext() as over_http:
        for row in measure(args):
            if over_http is not None and row["method"] != REFERENCE:
                row["http_rows_per_s"] = round(over_http(row["method"], row["dim"]))
            _tell(row, args)


def _tell(row: dict[str, Any], args: argparse.Namespace) -> None:
    print(json.dumps(row) if args.json else "  ".join(f"{k} {v}" for k, v in row.items()), flush=True)


def measure(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    train, train_labels, test, test_labels = _images(args.data)
    kept = np.random.default_rng(args.seed).permutation(len(train))[: args.rows]
    train, train_labels = train[kept], train_labels[kept]
    columns = tuple(Column(f"pixel {at}", None, "pixels") for at in range(train.shape[1]))
    features = Features(IdMap(str(row) for row in range(len(train))), columns, train.astype(np.float64))
    for dim in args.dims:
        for method in args.methods:
            if method == REFERENCE:
                yield {"method": method, "dim": dim} | _reference(dim, train, train_labels, test, test_labels)
                continue
            codec, seconds = _learn(method, dim, features, args)
            again = codec.decode(codec.encode(test))
            ours, theirs = _throughput(codec, test)
            yield {
                "method": method,
                "dim": dim,
                "reconstruction_mse": round(float(np.mean((again - test) ** 2)), 6),
                "knn_accuracy": _accuracy(codec.encode(train), train_labels, codec.encode(test), test_labels),
                "fit_seconds": round(seconds, 2),
                "encode_rows_per_s": round(ours),
                "ratio_to_torch": round(ours / theirs, 3),
            }


def _learn(method: str, dim: int, features: Features, args: argparse.Namespace) -> tuple[FeatureCodec, float]:
    params: dict[str, str | float | int] = dict(pair.split("=", 1) for pair in args.set) if method != "pca" else {}
    embedder = registry.make(method, {"dim": dim} | params)
    started = time.perf_counter()
    prepared_by = preprocessing.fit(features, keep_constant=True)
    prepared = prepared_by.apply(features.values)
    core = embedder.fit(prepared, seed=args.seed, device=args.device)
    seconds = time.perf_counter() - started
    normal = anomalies.learn_normal(core, prepared[:500], seed=args.seed)
    return FeatureCodec(method, prepared_by, core, normal), seconds


def _reference(
    dim: int, train: Matrix, train_labels: npt.NDArray, test: Matrix, test_labels: npt.NDArray
) -> dict[str, Any]:
    from sklearn.decomposition import PCA

    started = time.perf_counter()
    fitted = PCA(dim, random_state=0).fit(train)
    seconds = time.perf_counter() - started
    again = fitted.inverse_transform(fitted.transform(test))
    return {
        "reconstruction_mse": round(float(np.mean((again - test) ** 2)), 6),
        "knn_accuracy": _accuracy(fitted.transform(train), train_labels, fitted.transform(test), test_labels),
        "fit_seconds": round(seconds, 2),
        "encode_rows_per_s": round(len(test) / min(_seconds(lambda: fitted.transform(test)) for _ in range(ROUNDS))),
        "ratio_to_torch": None,
    }


def _accuracy(known: Matrix, labels: npt.NDArray, asked: Matrix, truth: npt.NDArray) -> float:
    from sklearn.neighbors import KNeighborsClassifier

    return round(float(KNeighborsClassifier(NEIGHBOURS).fit(known, labels).score(asked, truth)), 4)


def _throughput(codec: FeatureCodec, rows: Matrix) -> tuple[float, float]:
    """Rows per second of the codec and of torch, the best of rounds in turns, so that both see the same machine."""
    forward = _torch_forward(codec.core, codec.preprocessing)
    inputs = torch.from_numpy(rows)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(_seconds(lambda: codec.encode(rows)))
        theirs.append(_seconds(lambda: forward(inputs)))
    return len(rows) / min(ours), len(rows) / min(theirs)


def _torch_forward(core: Core, prepared_by: preprocessing.Preprocessing) -> Callable[[torch.Tensor], torch.Tensor]:
    """The encoder as a torch module would be run: scale, then layer after layer; vqvae without looking up its codes."""
    mean = torch.from_numpy(prepared_by.mean.astype(np.float32))
    scale = torch.from_numpy(prepared_by.scale.astype(np.float32))
    if isinstance(core, LinearCore):
        linear = _linear(core.components.T, -core.components @ core.mean)
        return torch.no_grad()(lambda rows: linear((rows - mean) / scale))
    perceptron = core.encoder
    straight = torch.from_numpy(perceptron.straight)
    layers: list[nn.Module] = []
    for weight, bias in zip(perceptron.weights, perceptron.biases, strict=True):
        layers += [_linear(weight, bias), nn.ReLU()]
    stack = nn.Sequential(*layers[:-1])

    @torch.no_grad()
    def forward(rows: torch.Tensor) -> torch.Tensor:
        scaled = (rows - mean) / scale
        return stack(scaled) + scaled @ straight

    return forward


def _linear(weight: Matrix, bias: Matrix) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight.T)))
    layer.bias = nn.Parameter(torch.from_numpy(np.array(bias)))
    return layer


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _images(folder: Path) -> tuple[Matrix, npt.NDArray, Matrix, npt.NDArray]:
    """Training and test images as rows of 0 to 1 float32, each with its labels."""
    found = np.load(folder / "train-10k.npz")
    train = found["x"].reshape(len(found["x"]), -1)
    test = _idx(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, train.shape[1])
    labels = _idx(folder / "t10k-labels-idx1-ubyte.gz", 8)
    return (train / 255).astype(np.float32), found["y"], (test / 255).astype(np.float32), labels


def _idx(file: Path, header_bytes: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=header_bytes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--dims", type=int, nargs="+", default=[8, 16, 32])
    methods = [REFERENCE, *registry.FEATURE_EMBEDDERS]
    parser.add_argument("--methods", nargs="+", default=methods, choices=methods)
    parser.add_argument("--rows", type=int, default=10_000, help="training images, drawn from the file")
    parser.add_argument("--set", action="append", default=[], metavar="k=v", help="a parameter of the networks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--http", action="store_true", help="also through a server: 1,000 images per POST /encode")
    parser.add_argument("--json", action="store_true", help="one JSON line per row")
    return parser.parse_args()


if __name__ == "__main__":
    main()
