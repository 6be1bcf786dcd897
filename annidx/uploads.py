"""Pictures that clients of a service add and remove at once: an index of its own beside the index.

It lies in ``INDEX/uploads`` and is an index as any other: each change seals a segment and publishes
a snapshot before it is answered, so that a kill loses nothing of what was answered, and readers are
never blocked. What is kept of a picture is its descriptors and facts; the picture is not.

The path of a row is the client's key and, behind a NUL byte, its payload as JSON.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annidx.descriptors import descriptor
from annidx.errors import PictureNotFound, UsageError
from annidx.model import Record
from annidx.store import files, history, identity, snapshot
from annidx.store.manifest import Manifest, Root, SegmentEntry
from annidx.store.rowset import Rowset, without
from annidx.store.segment import joined, table_of
from annidx.store.snapshot import Snapshot

FOLDER = "uploads"
ROOT = Root(1, b"upload:")
"""No absolute path begins like this, so an upload is taken for no file."""

MOST_KEY = 200
MOST_PAYLOAD = 4096
MOST_MERGED = 4096
"""So many rows are written anew at a time at most."""
PRUNED_EVERY = 64
"""Snapshots from one pruning to the next; it reads all manifests."""
KEPT_S = 10.0
"""Snapshots stay so long: a reader that is about to open one finds its files."""
WAIT_S = 30.0
"""How long to wait for another process that writes here."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that a client has added.

    Attributes
    ----------
    key : str
        The client's.
    payload : Mapping of str to Any
        Likewise, JSON.
    """

    key: str
    payload: Mapping[str, Any]


def upload_of(path: bytes) -> Upload | None:
    """Return what the path of a match says of an upload; None for a file of the archive.

    Examples
    --------
    >>> upload_of(b'upload:/a 1\\x00{"shop": 3}')
    Upload(key='a 1', payload={'shop': 3})
    >>> upload_of(b"/home/a.jpg")
    """
    start = ROOT.path + b"/"
    if not path.startswith(start):
        return None
    key, _, payload = path[len(start) :].partition(b"\0")
    return Upload(key.decode(), json.loads(payload))


def checked_key(key: str) -> str:
    """Return a client's key, if it may be one.

    Raises
    ------
    UsageError
    """
    if not 1 <= len(key.encode(errors="replace")) <= MOST_KEY or not key.isprintable():
        message = f"a key has 1 to {MOST_KEY} bytes of UTF-8, all of them printable"
        raise UsageError(message)
    return key


def checked_payload(payload: Any) -> bytes:
    """Return a client's payload as canonical JSON.

    Raises
    ------
    UsageError
    """
    if not isinstance(payload, dict):
        message = "payload is no JSON object"
        raise UsageError(message)
    written = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if len(written) > MOST_PAYLOAD:
        message = f"payload has {len(written)} bytes as JSON, expected {MOST_PAYLOAD} at most"
        raise UsageError(message)
    return written


class Uploads:
    """What clients have added to an index, safe to share between threads and processes.

    Parameters
    ----------
    index : Path
        The directory of the index beside which they lie.
    """

    def __init__(self, index: Path) -> None:
        self.place = index / FOLDER
        self.lock = threading.RLock()
        """Hold it to judge a picture and add it before another one comes."""
        self._opened: Snapshot | None = None
        self._rows: tuple[Snapshot | None, dict[str, int]] = None, {}
        self.refresh()

    def refresh(self) -> None:
        """Open what another process may have published here.

        Raises
        ------
        IndexDamaged, IndexTooNew
        """
        with self.lock:
            if files.manifest_paths(self.place):
                newest = snapshot.current_manifest(self.place)
                if newest is not None and newest != self._manifest:
                    self._opened = snapshot.current(self.place)

    @property
    def opened(self) -> Snapshot | None:
        """The current snapshot; None when nothing was ever added."""
        return self._opened

    @property
    def _manifest(self) -> Manifest | None:
        return None if self._opened is None else self._opened.manifest

    @property
    def descriptors(self) -> tuple[str, ...]:
        """Those that are kept of each picture; empty when there is none."""
        return () if self._manifest is None or not self.rows else tuple(self._manifest.descriptors)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def rows(self) -> Mapping[str, int]:
        """The row of each key in the current snapshot."""
        known, rows = self._rows
        opened = self._opened
        if known is not opened and opened is not None:
            live = np.flatnonzero(opened.pictures.live)
            paths = opened.pictures.values("path", live)
            keys = (path.partition(b"\0")[0].decode() for path in paths)
            rows = dict(zip(keys, live.tolist(), strict=True))
            self._rows = opened, rows
        return rows

    def path(self, key: str) -> bytes:
        """Return the path of an upload among matches; empty when there is none with this key."""
        opened, row = self._opened, self.rows.get(key)
        return b"" if opened is None or row is None else opened.paths(np.array([row]))[0]

    def record(self, key: str) -> Record:
        """Return what is kept of a picture.

        Raises
        ------
        PictureNotFound
        """
        with self.lock:
            opened, row = self._opened, self.rows.get(key)
        if opened is None or row is None:
            message = f"there is no upload with the key {key!r}"
            raise PictureNotFound(message)
        (found,) = opened.pictures.records(np.array([row]))
        path = opened.folders[found.file.root_id] + found.file.path
        return replace(found, file=replace(found.file, path=path))

    def put(self, key: str, payload: Any, record: Record) -> bool:
        """Add a picture, or put it in the place of that with the same key; on the disk at once.

        Parameters
        ----------
        key : str
        payload : mapping
            JSON, to filter by.
        record : Record
            With all descriptors that the index holds, and those of :attr:`descriptors`.

        Returns
        -------
        bool
            True when there was none with this key.

        Raises
        ------
        UsageError, IndexLocked
        """
        path = checked_key(key).encode() + b"\0" + checked_payload(payload)
        with self.lock:
            identity.create(self.place)
            with files.writer_lock(self.place, WAIT_S):
                self.refresh()
                base = self._manifest or Manifest(0, "", roots=(ROOT,), next_root_id=2)
                file = replace(record.file, root_id=ROOT.root_id, path=path)
                row = replace(
                    record,
                    file=file,
                    image_id=base.next_image_id,
                    first_seen_ns=time.time_ns(),
                )
                base = replace(base, next_image_id=base.next_image_id + 1)
                # All rows have the same ones: what the index holds since they began is left out.
                if names := self.descriptors:
                    row = replace(row, descriptors={name: row.descriptors[name] for name in names})
                before = self.rows.get(key)
                self._publish(base, self._without([] if before is None else [before]), row)
        return before is None

    def delete(self, key: str) -> bool:
        """Remove a picture, on the disk at once; tell whether there was one."""
        with self.lock:
            if not self.place.is_dir():
                return False
            with files.writer_lock(self.place, WAIT_S):
                self.refresh()
                row = self.rows.get(key)
                if row is None or self._manifest is None:
                    return False
                self._publish(self._manifest, self._without([row]))
        return True

    def _without(self, gone: Sequence[int]) -> list[SegmentEntry]:
        if self._opened is None:
            return []
        mask: npt.NDArray[np.bool_] = np.zeros(len(self._opened.pictures), np.bool_)
        mask[list(gone)] = True
        return without(self._opened.pictures, mask)

    def _publish(
        self, base: Manifest, kept: list[SegmentEntry], added: Record | None = None
    ) -> None:
        """Seal what is new, together with what is small; publish it and open it."""
        entries, held = kept, base.descriptors
        if added is not None:
            tail = _tail([each.live for each in kept])
            small, names = kept[len(kept) - tail :], added.descriptors
            # Tables are joined as they are: made into records, 500 rows take a second.
            tables = [self._rowset(small).live_table(names)] if small else []
            table = joined([*tables, table_of([added], "pictures")])
            entries = kept[: len(kept) - tail]
            entries.append(snapshot.add_table(self.place, table, "pictures"))
            held = {name: descriptor(name).version for name in added.descriptors}
        manifest = replace(
            base,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            segments=tuple(entries),
            descriptors=held,
            counts={"ok": sum(each.live for each in entries)},
        )
        published = snapshot.publish(self.place, manifest)
        self._opened = Snapshot(self.place, published)
        if published.number % PRUNED_EVERY == 0:
            history.prune(self.place, time.time(), keep=2, keep_s=KEPT_S)

    def _rowset(self, entries: Sequence[SegmentEntry]) -> Rowset:
        manifest = Manifest(0, "", roots=(ROOT,), segments=tuple(entries))
        return Snapshot(self.place, manifest).pictures


def _tail(sizes: Sequence[int]) -> int:
    """Return how many of the last segments become one with a new row.

    So each is larger than all that follow it, and a row is written log2(n) times.

    Examples
    --------
    >>> _tail([]), _tail([1]), _tail([2, 1]), _tail([4, 1]), _tail([8, 4, 2, 1])
    (0, 1, 2, 1, 4)
    """
    total = 1
    for count, size in enumerate(reversed(sizes)):
        if size > total or total + size > MOST_MERGED:
            return count
        total += size
    return len(sizes)
