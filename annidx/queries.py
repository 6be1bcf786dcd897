"""What is asked: sources to records, options and foreign vectors checked."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.descriptors import DEFAULT_DESCRIPTORS, DESCRIPTORS, THUMB, Descriptor, descriptor
from annidx.errors import PictureUnreadable, UsageError
from annidx.images import decode, extract
from annidx.images.signature import pack
from annidx.model import Record
from annidx.search.vectors import Stored


def read_query(source: Any, metric: str | None = None) -> Record:
    """Read a query: a path, the bytes of a file, a PIL image, an array, or a record as it is.

    Parameters
    ----------
    source : path, bytes, PIL image, array or Record
    metric : str, optional
        What it is to be asked by: only what such a search looks at is computed. By default the
        descriptors that every build computes.

    Raises
    ------
    PictureUnreadable, UsageError
    """
    if isinstance(source, Record):
        return source
    names = DEFAULT_DESCRIPTORS if metric is None else needed(metric)
    if isinstance(source, str) and not source:  # an unset variable
        message = "the path of the query is empty: name a picture"
        raise PictureUnreadable(message, "unreadable")
    if isinstance(source, str | os.PathLike):
        return extract.query_record(os.fsencode(os.path.expanduser(source)), names)
    if isinstance(source, bytes | bytearray | memoryview):
        return extract.bytes_record(bytes(source), names)
    if isinstance(source, np.ndarray):
        return extract.picture_record(decode.from_array(source), names)
    return extract.picture_record(decode.from_image(source), names)


def needed(metric: str) -> tuple[str, ...]:
    """Return the descriptors of a query picture that a search by a metric looks at.

    Its own, and the thumb, which tells pictures with next to no information.

    Raises
    ------
    UsageError
        For an unknown metric.
    """
    measure = descriptor(metric)
    return tuple(dict.fromkeys((THUMB.name, measure.name, *measure.needs)))


def checked(
    metric: str, cutoff: float | None, k: int | None, held: Mapping[str, int]
) -> tuple[Descriptor, float]:
    """Check the options that all searches share; return the descriptor and the cutoff.

    Parameters
    ----------
    metric : str
    cutoff : float or None
    k : int or None
    held : Mapping of str to int
        Descriptors that the index holds, with their versions; empty when nothing was built yet.

    Raises
    ------
    UsageError
    """
    measure = descriptor(metric)
    if held and metric not in held:
        have = [name for name in DESCRIPTORS if name in held]
        wanted = [name for name in DESCRIPTORS if name in held or name == metric]
        message = (
            f"this index does not hold {metric}, it holds {', '.join(have)}: "
            f'"annidx build --descriptors {",".join(wanted)}" adds it'
        )
        raise UsageError(message)
    limit = measure.cutoff if cutoff is None else float(cutoff)
    if math.isnan(limit) or limit < 0:
        message = f"cutoff is {limit:g}, expected a distance of 0 or more"
        raise UsageError(message)
    if k is not None and k < 1:
        message = f"k is {k}, expected 1 or more"
        raise UsageError(message)
    return measure, min(limit, measure.largest)


def label(record: Record) -> str:
    """Return what to call a query: its path, or that it has none."""
    return os.fsdecode(record.file.path) or "<image>"


def joined(measure: Descriptor, records: Sequence[Record], held: Mapping[str, int]) -> Stored:
    """Return the stored bytes of several query pictures, (n, width) uint8.

    Those of the metric's own descriptor, and beside them those of the ones that it needs.

    Raises
    ------
    UsageError
        When a record was read for another metric, or the index holds vectors of another version
        than this annidx computes: those are never compared.
    """
    version = held.get(measure.name, measure.version)
    if version != measure.version:
        message = (
            f"this index holds {measure.name} in version {version}, this annidx computes version "
            f'{measure.version}, and the two cannot be compared: run "annidx build" first'
        )
        raise UsageError(message)
    stored = []
    for record in records:
        values = [record.descriptors.get(name, b"") for name in (measure.name, *measure.needs)]
        if not all(values):
            message = (
                f"{label(record)} was read without {measure.name}: "
                f"read it with read_query(..., {measure.name!r})"
            )
            raise UsageError(message)
        stored.append(b"".join(values))
    width = measure.width + sum(descriptor(name).width for name in measure.needs)
    return np.frombuffer(b"".join(stored), np.uint8).reshape(len(stored), width)


def encoded(measure: Descriptor, vectors: npt.ArrayLike) -> Stored:
    """Check vectors that a caller made and return them as stored bytes."""
    if measure.needs:
        message = f"{measure.name} needs the picture beside its vector: ask by the picture"
        raise UsageError(message)
    values = np.asarray(vectors)
    wanted = np.uint8 if measure.encoding == "bytes" else np.int8
    if values.ndim != 2 or values.shape[1] != measure.dimension or values.dtype != wanted:
        message = (
            f"expected (n, {measure.dimension}) {np.dtype(wanted)} vectors for {measure.name}, "
            f"got {values.shape} {values.dtype}"
        )
        raise UsageError(message)
    if measure.encoding == "bytes":
        return np.ascontiguousarray(values)
    if values.size and not (values.min() >= -2 and values.max() <= 2):
        message = f"{measure.name} values lie in -2..2, got {values.min()}..{values.max()}"
        raise UsageError(message)
    return pack(values)
