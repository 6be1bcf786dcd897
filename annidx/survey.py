"""The walk, running ahead in a thread of its own: what to do with each file that it finds.

What needs nothing is settled at once; what is to be looked at, or written anew, comes out in the
order of the walk. How long that list is costs disk, not memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from annidx.changes import Known, KnownFiles, decide
from annidx.images.extract import Task
from annidx.images.scan import Walk
from annidx.model import File
from annidx.spool import Spool
from annidx.store.manifest import Root

LARGE_BYTES = 2_000_000
"""Files of which each is a batch's worth of work; they go before the others, so that no worker is
left with one when the others have nothing to do."""

_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class Carry:
    """A known file whose row goes on under new facts, without being read."""

    known: Known
    file: File


Item = Task | Carry


class Survey:
    """A walk over roots beside what is known of their files.

    Parameters
    ----------
    walk : Walk
    roots : Mapping of int to Root
    known : KnownFiles
        Rows that need nothing are marked as kept.
    anew : callable
        Tells of a row (or None) whether its file is to be extracted whatever is known.
    folder : Path
        For the list of what is to be done.
    quick : bool
        True when files that are as they were are never to be extracted again.

    Attributes
    ----------
    found, found_bytes : int
        Files to look at so far, and their sizes.
    walking : bool
        False when they are all.
    """

    def __init__(
        self,
        walk: Walk,
        roots: Mapping[int, Root],
        known: KnownFiles,
        anew: Callable[[Known | None], bool],
        folder: Path,
        *,
        quick: bool = False,
    ) -> None:
        self._quick = quick
        self.walk, self._roots, self._known, self._anew = walk, roots, known, anew
        self._folders = {key: root.path.rstrip(b"/") + b"/" for key, root in roots.items()}
        self.found = self.found_bytes = 0
        self.walking = True
        self._stop = False
        self._spool: Spool[Item] = Spool(folder)
        self._thread = threading.Thread(target=self._run, daemon=True, name="annidx walk")

    def items(self) -> Iterator[Item | None]:
        """Yield what is to be done, None when there is nothing for now; large files first."""
        self._thread.start()
        try:
            while (chunk := self._spool.take(_WAIT_S)) is not None:
                if not chunk:
                    yield None
                # Stable, so that the order depends on the files alone.
                yield from sorted(chunk, key=lambda item: -_large(item))
        finally:
            self.stop()

    def stop(self) -> None:
        """End the walk, wherever it is, and give the disk space back."""
        self._stop = True
        if self._thread.is_alive():
            self._thread.join()
        self._spool.close()

    def _run(self) -> None:
        try:
            for file in self.walk.files():
                if self._stop:
                    return
                item = self._item(file)
                if item is not None:
                    self._spool.put(item)
        except BaseException as error:  # for the thread that takes
            self._spool.finish(error)
        else:
            self._spool.finish()
        finally:
            self.walking = False

    def _item(self, file: File) -> Item | None:
        root = self._roots[file.root_id]
        path = self._folders[file.root_id] + file.path
        if self._quick and self._known.keep_unchanged(file, path):
            return None
        known = self._known.at(path)
        anew = self._anew(known)
        decision = decide(file, known, moved=root.moved, anew=anew)
        if known is not None and decision == "keep":
            self._known.keep(known)
            return None
        if known is not None and decision == "carry":
            return Carry(known, file)
        self.found += 1
        self.found_bytes += file.size
        alike = [] if anew else self._known.alike(file, path)
        contents = tuple(each.content_hash for each in alike)
        return Task(file, root.path, contents, keeps_inodes=file.inode != 0)


def _large(item: Item) -> int:
    size = item.file.size if isinstance(item, Task) else 0
    return size if size >= LARGE_BYTES else 0
