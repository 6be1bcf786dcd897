"""Append-only logs of JSON lines, each with a checksum, durable when an append returns.

A line is ``<16 hex digits of the SHA-256 of the rest> <JSON>``: readable by eye, and a torn or
flipped one is told from a whole one. Nothing is ever rewritten.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from annidx.store import files

log = logging.getLogger(__name__)

_DIGITS = 16


def append(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Append records, in one write and one fsync; only the holder of the log's lock may call it.

    Raises
    ------
    OSError
        When they could not be written; then none of them is there.
    """
    files.append(path, b"".join(_line(record) for record in records))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log, oldest first; none when there is no such file.

    What a kill tore off at the end is passed over: its append never returned. A damaged line
    further up is passed over with a warning, since those around it are as good as before.
    """
    try:
        *lines, torn = files.read_file(path).split(b"\n")
    except FileNotFoundError:
        return []
    if torn:
        log.info("%s: ends in a torn line, which was never acknowledged", path)
    records = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is None:
            log.warning("%s: line %d is damaged and passed over", path, number)
        else:
            records.append(record)
    return records


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, sort_keys=True).encode()
    return _checksum(text) + b" " + text + b"\n"


def _record(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.partition(b" ")
    if checksum != _checksum(text):
        return None
    record: dict[str, Any] = json.loads(text)
    return record


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_DIGITS].encode()
