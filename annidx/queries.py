"""What is asked: sources to records, options and foreign vectors checked."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.descriptors import Descriptor, descriptor
from annidx.errors import UsageError
from annidx.images import decode, extract
from annidx.images.signature import pack
from annidx.model import Record
from annidx.search.vectors import Stored


def read_query(source: Any) -> Record:
    """Read a query: a path, the bytes of a file, a PIL image, an array, or a record as it is.

    Raises
    ------
    PictureUnreadable
    """
    if isinstance(source, Record):
        return source
    if isinstance(source, str | os.PathLike):
        return extract.query_record(os.fsencode(os.path.expanduser(source)))
    if isinstance(source, bytes | bytearray | memoryview):
        return extract.bytes_record(bytes(source))
    if isinstance(source, np.ndarray):
        return extract.picture_record(decode.from_array(source))
    return extract.picture_record(decode.from_image(source))


def checked(metric: str, cutoff: float | None, k: int | None) -> tuple[Descriptor, float]:
    """Check the options that all searches share; return the descriptor and the cutoff.

    Raises
    ------
    UsageError
    """
    measure = descriptor(metric)
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


def joined(measure: Descriptor, stored: Sequence[bytes]) -> Stored:
    """Return stored bytes of several pictures, (n, width) uint8."""
    return np.frombuffer(b"".join(stored), np.uint8).reshape(len(stored), measure.width)


def encoded(measure: Descriptor, vectors: npt.ArrayLike) -> Stored:
    """Check vectors that a caller made and return them as stored bytes."""
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
