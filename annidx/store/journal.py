"""The journal: what a build has extracted and not yet published, so that a kill loses none of it.

One file for each kind of rows, in ``staging/``: frames of (length, SHA-256, bytes), of which the
first says what the journal builds on, the second is the schema, and each further one a batch of
rows in Arrow's IPC format. Frames are written as the rows come, without fsync: they survive the
death of the process. A torn or damaged frame fails its hash, and the journal ends before it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from annidx.store import files
from annidx.store.manifest import KINDS, Kind, Manifest
from annidx.store.segment import schema, with_columns

_LENGTH = 8
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class Intent:
    """What a build was asked for, so that the next one can go on without being told again.

    Attributes
    ----------
    roots : Sequence of bytes
        All that its rows name, absolute paths.
    descriptors, exclude : Sequence of str
    """

    roots: Sequence[bytes] = ()
    descriptors: Sequence[str] = ()
    exclude: Sequence[str] = ()


class Journal:
    """Appends rows of a build to files of its own.

    Parameters
    ----------
    index : Path
    base : Manifest
        The published snapshot that the build goes on from.
    roots : Mapping of int to bytes
        Absolute paths of the roots that rows name by their ids.
    descriptors, exclude : Sequence of str
        What the build was asked for; see :class:`Intent`.
    """

    def __init__(
        self,
        index: Path,
        base: Manifest,
        roots: Mapping[int, bytes],
        descriptors: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        self._asked = {"descriptors": list(descriptors), "exclude": list(exclude)}
        self._folder = index / "staging"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._base = base
        self._roots = {str(key): base64.b64encode(path).decode() for key, path in roots.items()}
        self._suffix = ".new"
        self._open: dict[Kind, IO[bytes]] = {}
        self._begun: set[Kind] = set()

    def append(self, table: pa.Table, kind: Kind) -> None:
        """Append rows."""
        if kind not in self._open:
            path = self._folder / f"{kind}.journal{self._suffix}"
            mode = "ab" if kind in self._begun else "wb"
            self._open[kind] = open(path, mode, buffering=0, opener=files.private)  # noqa: SIM115
        if kind not in self._begun:
            self._open[kind].truncate(0)
            self._open[kind].seek(0)
            facts = {
                "builds_on": _state(self._base),
                "roots": self._roots,
                "next_root_id": self._base.next_root_id,
                **self._asked,
            }
            self._write(kind, json.dumps(facts).encode())
            self._write(kind, table.schema.serialize())
            self._begun.add(kind)
        for batch in table.to_batches():
            self._write(kind, batch.serialize())

    def replace_old(self) -> None:
        """Take the place of the journal that an interrupted build left."""
        for kind in KINDS:
            new, old = (self._folder / f"{kind}.journal{end}" for end in (".new", ""))
            if kind in self._open:
                files.replace(new, old)
            else:
                old.unlink(missing_ok=True)
        self._suffix = ""

    def restart(self, base: Manifest) -> None:
        """Forget all rows: they are published in `base`."""
        self.close()
        self._begun.clear()
        self._base = base
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files; what was written stays for the next build to find."""
        for handle in self._open.values():
            handle.close()
        self._open.clear()

    def _write(self, kind: Kind, data: Any) -> None:
        frame = memoryview(data)
        head = frame.nbytes.to_bytes(_LENGTH, "little") + hashlib.sha256(frame).digest()
        start = self._open[kind].tell()
        try:
            for part in (head, frame):
                _write_whole(self._open[kind], memoryview(part))
        except BaseException:  # Ctrl-C or a full disk: nobody would read on behind a torn frame
            self._open[kind].truncate(start)
            self._open[kind].seek(start)
            raise


def intent(index: Path, base: Manifest) -> Intent:
    """Return what an interrupted build that went on from `base` was asked for; empty without."""
    for kind in KINDS:
        facts = json.loads(next(_frames(index / "staging" / f"{kind}.journal"), b"{}"))
        if facts.get("builds_on") == _state(base):
            roots = [base64.b64decode(path) for path in facts["roots"].values()]
            return Intent(roots, facts.get("descriptors", []), facts.get("exclude", []))
    return Intent()


@dataclass(frozen=True, slots=True)
class Left:
    """Some rows that an interrupted build left."""

    kind: Kind
    table: pa.Table

    @property
    def next_image_id(self) -> int:
        """A number above all of theirs."""
        return int(np.max(self.table["image_id"].to_numpy())) + 1


def left_behind(
    index: Path, base: Manifest, roots: Mapping[int, bytes], names: Mapping[str, int]
) -> Iterator[Left]:
    """Yield what an interrupted build left that went on from the snapshot `base`.

    A journal of another snapshot or with other descriptors is passed over: its rows were published,
    or what they build on has gone.

    Parameters
    ----------
    index : Path
    base : Manifest
    roots : Mapping of int to bytes
        Absolute paths of today's roots by their ids, which the rows get; rows of others go.
        A root that has moved since is the same.
    names : Mapping of str to int
        Descriptors and their versions.
    """
    today = {path: root_id for root_id, path in roots.items()}
    for kind in KINDS:
        frames = _frames(index / "staging" / f"{kind}.journal")
        facts = json.loads(next(frames, b"{}"))
        description = next(frames, None)
        if facts.get("builds_on") != _state(base) or description is None:
            continue
        found = pa.ipc.read_schema(pa.py_buffer(description))
        if not found.equals(schema(kind, names), check_metadata=True):
            continue
        before = {int(key): base64.b64decode(path) for key, path in facts["roots"].items()}
        # A root that was published keeps its number when it is moved; others may have lost theirs.
        fixed = {key for key in before if key < facts.get("next_root_id", 0) and key in roots}
        ids = {key: key if key in fixed else today.get(path) for key, path in before.items()}
        for frame in frames:
            batch = pa.ipc.read_record_batch(pa.py_buffer(frame), found)
            table = _with_roots(pa.Table.from_batches([batch]), ids)
            if len(table):
                yield Left(kind, table)


def _with_roots(table: pa.Table, ids: Mapping[int, int | None]) -> pa.Table:
    """Return the rows whose roots there are today, under today's ids."""
    found = [ids.get(each) for each in table["root_id"].to_pylist()]
    table = table.filter(pa.array([each is not None for each in found]))
    return with_columns(table, {"root_id": [each for each in found if each is not None]})


def _frames(path: Path) -> Iterator[bytes]:
    """Yield the whole frames of a file, up to the first that is not."""
    try:
        handle = files.open_file(path)
    except OSError:  # there is none, or nothing that a build left
        return
    with handle:
        left = path.stat().st_size
        while True:
            head = handle.read(_LENGTH + _DIGEST)
            length = int.from_bytes(head[:_LENGTH], "little")
            left -= len(head) + length
            if len(head) < _LENGTH + _DIGEST or left < 0:  # a wrong length may ask for exabytes
                return
            data = handle.read(length)
            if hashlib.sha256(data).digest() != head[_LENGTH:]:
                return
            yield data


def _write_whole(handle: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[handle.write(data) :]


def _state(base: Manifest) -> str:
    """Return what changes with every published row; adding or moving a root leaves it as it is."""
    state = [[each.sha256, each.removed] for each in base.segments], base.next_image_id
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()
