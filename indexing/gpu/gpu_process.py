"""Starts and stops the GPU process, and makes the searchers of a generation use it."""

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
from indexing.gpu.gpu_client import GpuClientSearcher
from indexing.gpu.gpu_server import GpuServer, address
from indexing.gpu.process_supervisor import supervised_process
from indexing.recipes.faiss_gpu import Twin, copy_to_gpu, gpu_number
from indexing.searchers.exact import ExactSearcher
from indexing.searchers.int8_searcher import Int8Searcher
from indexing.searchers.metric import MetricSearcher


@contextmanager
def gpu_process(home: Path, device: str) -> Iterator[None]:
    """Run a process that searches on `device` for the servers of `home`; it is restarted when it dies. No-op for the
    CPU.

    DeviceUnavailable when the device does not exist.
    """
    if gpu_number(device) is None:
        yield
        return
    with supervised_process(run_gpu_server, address(home, device), device):
        yield


def run_gpu_server(socket_path: str, device: str) -> None:
    """The target of the GPU process; it ends with its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    GpuServer(socket_path, lambda folder: searchers(folder, device)).run()


def searchers(folder: Path, device: str) -> dict[str, Searcher]:
    """Label -> searcher on the device, for the generation in `folder`."""
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


def with_gpu_searchers(generation: Generation, folder: Path, socket_path: str) -> Generation:
    """The generation in `folder` with searchers that ask the GPU process at `socket_path`."""
    return replace(
        generation,
        users_to_items=GpuClientSearcher(socket_path, folder, "metric", generation.users_to_items),
        items_to_items=GpuClientSearcher(socket_path, folder, "cosine", generation.items_to_items),
    )


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
