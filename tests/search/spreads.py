"""What tests.making makes of thumbs and signatures, for every descriptor of the registry."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from annidx.descriptors import DESCRIPTORS, SIGNATURE, THUMB, Descriptor
from annidx.images.gray import luma
from annidx.search import graph as graphs
from annidx.search.graph import Graph
from annidx.search.vectors import Stored
from tests import making

METRICS = [each for each in DESCRIPTORS.values() if not each.needs]
"""Those that are compared by their own vectors alone."""
GRAYS = [each for each in METRICS if each not in (THUMB, SIGNATURE)]


def name_of(metric: Descriptor) -> str:
    """Return the id of a parameter."""
    return metric.name


def spread(metric: Descriptor, count: int, seed: int) -> Stored:
    """Return unrelated vectors of a metric."""
    if metric in GRAYS:
        return in_gray(metric, making.thumbs(count, seed))
    return making.spread(metric, count, seed)


def copies(metric: Descriptor, stored: Stored, seed: int, change: float = 3.0) -> Stored:
    """Return near-copies of stored vectors."""
    if metric in GRAYS:
        grain = np.random.default_rng(seed).normal(0, change, stored.shape)
        return making.rounded(stored + grain)
    return making.copies(metric, stored, seed, change)


def mixture(metric: Descriptor, count: int, seed: int) -> Stored:
    """Return `count` shuffled vectors: unrelated ones, near-copies, clusters, exact copies."""
    if metric in GRAYS:
        return in_gray(metric, making.mixture(THUMB, count, seed))
    return making.mixture(metric, count, seed)


def in_gray(metric: Descriptor, thumbs: Stored) -> Stored:
    """Return the luma of some of the thumbs' pixels, as many as the descriptor has."""
    side = math.isqrt(metric.dimension)
    at = np.linspace(0, 19, side).round().astype(np.intp)
    pixels = thumbs.reshape(-1, 20, 20, 3)[:, at][:, :, at]
    return luma(pixels).reshape(len(thumbs), metric.dimension)


def save(graph: Graph, path: Path) -> None:
    """Write a graph's .hnsw file."""
    with path.open("wb") as handle:
        graph.save(handle)


def load(path: Path, sidecar: bytes, where: str) -> Graph:
    """Load a graph from its file."""
    with path.open("rb") as handle:
        return graphs.load(handle.fileno(), sidecar, where)
