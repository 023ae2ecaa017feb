"""Owning: the process that owns a GPU, from start to end, and the views whose searches go there."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from engine.recommending.values.searcher import Searcher
from indexing.generations.generation import Generation, open_generation
from indexing.gpu.gpu_server import OwnedSearcher, Owner, address
from indexing.gpu.process_supervisor import restarting
from indexing.recipes.faiss_gpu import Twin, copy_to_gpu, gpu_number
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import MetricSearcher


@contextmanager
def owning(home: Path, device: str) -> Iterator[None]:
    """A process that owns `device` for the servers of `home`; nothing for the CPU. When it dies it is started again.

    DeviceUnavailable when the device is not there.
    """
    if gpu_number(device) is None:
        yield
        return
    with restarting(own, address(home, device), device):
        yield


def own(where: str, device: str) -> None:
    """The target of the process; it ends with its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    Owner(where, lambda folder: searchers(folder, device)).run()


def searchers(folder: Path, device: str) -> dict[str, Searcher]:
    """Those of a generation, on the device, by label."""
    opened, gpu = open_generation(folder), gpu_number(device)
    found = {"metric": opened.users_to_items, "cosine": opened.items_to_items}
    if gpu is None:
        return dict(found)
    made: dict[str, Searcher] = {}
    for label, searcher in found.items():
        assert isinstance(searcher, MetricSearcher)
        twin = searcher.inner
        assert isinstance(twin, Twin)
        same = opened.metric == "cosine" and opened.similarity_vectors.transform is None
        shared = label == "cosine" and same and isinstance(twin, ExactSearcher | Int8Searcher)
        made[label] = made["metric"] if shared else MetricSearcher(copy_to_gpu(gpu, twin), searcher.metric)
    return made


def owned(generation: Generation, folder: Path, where: str) -> Generation:
    """The generation in `folder`, its searches answered by the owner at `where`."""
    return replace(
        generation,
        users_to_items=OwnedSearcher(where, folder, "metric", generation.users_to_items),
        items_to_items=OwnedSearcher(where, folder, "cosine", generation.items_to_items),
    )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
