"""What a service holds open: for each name one index, swapped by a single assignment.

A request takes the index once and keeps it to its end, so that no answer mixes two snapshots. What
a newer one replaces is freed when the last request that has it is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from annidx import api, walked
from annidx.beside import Both
from annidx.errors import AnnidxError, IndexNotFound
from annidx.index import Index
from annidx.service.freeing import Replaced
from annidx.store import files, memory, snapshot
from annidx.uploads import Uploads

log = logging.getLogger(__name__)

RETRY_S = 30.0
"""A snapshot that could not be opened is tried again after that, though nothing has changed."""


class NotLoaded(AnnidxError):
    """The index is still being opened, or cannot be."""

    http_status = 503


class UnknownIndex(AnnidxError, LookupError):
    """No index of that name is served."""

    http_status = 404


class Held:
    """One index that is kept up to date.

    Parameters
    ----------
    name : str
    place : Path
        Its directory.
    """

    def __init__(self, name: str, place: Path) -> None:
        self.name, self.place = name, place
        self._index: Index | None = None
        self._uploads: Uploads | None = None
        self._both: Both | None = None
        self._lock, self._swapping = threading.Lock(), threading.Lock()
        self._seen: list[str] = []
        self._tried = 0.0
        self._failed = False
        self._replaced = Replaced()
        self._listeners: list[Callable[[str], None]] = []
        self.reason = "it is being opened"
        self.reloads = self.failures = 0

    @property
    def index(self) -> Index:
        """The newest snapshot that could be opened.

        Raises
        ------
        NotLoaded
        """
        index = self._index
        if index is None:
            message = f"index {self.name!r} is not ready: {self.reason}"
            raise NotLoaded(message)
        return index

    @property
    def uploads(self) -> Uploads:
        """What clients have added to the index.

        Raises
        ------
        NotLoaded
        """
        if self._uploads is None:
            _ = self.index  # which says why
            message = f"index {self.name!r} is not ready: {self.reason}"
            raise NotLoaded(message)
        return self._uploads

    def both(self) -> Both:
        """Return the index and what was added to it, as they are now.

        Raises
        ------
        NotLoaded
        """
        index, added = self.index, self.uploads.opened
        both = self._both
        if both is None or both.index is not index or both.snapshot is not added:
            both = Both(index, added)
            with self._swapping:
                if index is self._index:  # else it would hold an old snapshot open
                    self._both = both
        return both

    @property
    def is_loaded(self) -> bool:
        """True once a snapshot is open."""
        return self._index is not None

    def is_current(self, index: Index) -> bool:
        """Tell whether an index is the one that is held."""
        return index is self._index

    def when_replaced(self, listener: Callable[[str], None]) -> None:
        """Call something with the name of the index whenever another snapshot is held."""
        self._listeners.append(listener)

    def age_s(self) -> float:
        """Return how long ago the snapshot was published, in seconds."""
        return _since(self._created())

    def unverified_s(self) -> float:
        """Return for how long nobody has looked whether the archive is as the snapshot says."""
        noted = walked.last(self.place, self.index.manifest.number)
        return _since(max(self._created(), noted or 0.0))

    def _created(self) -> float:
        return datetime.fromisoformat(self.index.manifest.created).timestamp()

    def load(self) -> bool:
        """Open the newest snapshot and make it the one that is held; tell whether it is another.

        Raises
        ------
        AnnidxError, OSError
            When it cannot be opened; what is held stays.
        """
        with self._lock:
            self._tried = time.monotonic()
            self._failed = True
            self._seen = [path.name for path in files.manifest_paths(self.place)]
            try:
                is_new = self._load()
            except (AnnidxError, OSError) as error:
                self.failures += 1
                self.reason = str(error)
                raise
            self._failed = False
        self._replaced.free()
        return is_new

    def _load(self) -> bool:
        opened = api.open(self.place)
        if self._index is not None:
            if self._index.manifest == opened.manifest:
                return False
            self.reloads += 1
        if self._uploads is None:
            self._uploads = Uploads(self.place)
        _warm(opened)
        before = self._index
        with self._swapping:
            self._index, self._both = opened, None
        if before is not None:
            self._replaced.add(before)
        for listener in self._listeners:
            listener(self.name)
        return True

    def refresh(self) -> None:
        """Load the newest snapshot if the folder of snapshots has changed; never raises."""
        try:
            names = [path.name for path in files.manifest_paths(self.place)]
            again = self._failed and time.monotonic() - self._tried > RETRY_S
            if names != self._seen or again:
                self.load()
            if self._uploads is not None:
                self._uploads.refresh()
            self._replaced.free()
        except (AnnidxError, OSError) as error:
            log.warning("index %s: %s", self.name, error)


def _since(moment: float) -> float:
    return max(0.0, time.time() - moment)


def _warm(opened: Index) -> None:
    """Ask first queries, so that graphs and columns are in memory before anybody waits for them.

    Of all graphs: a single query would rather compare all than load one, and so would the next.
    """
    graphs = {each.metric for each in opened.manifest.graphs}
    for image_id in opened.picture_ids()[:1].tolist():
        picture = opened.picture(image_id)
        opened.query(picture)
        for metric in graphs:
            if opened.engines.usable_graphs(metric):
                opened.query(picture, metric=metric, engine="graph")


class Holder:
    """All indexes of a service.

    Parameters
    ----------
    places : Mapping of str to Path
        Directories by name; the first is the one that is meant when none is named.
    """

    def __init__(self, places: Mapping[str, Path]) -> None:
        self.held = {name: Held(name, place) for name, place in places.items()}
        self.default = next(iter(self.held))
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def of(self, name: str | None = None) -> Held:
        """Return an index by its name, or the default one.

        Raises
        ------
        UnknownIndex
        """
        try:
            return self.held[name or self.default]
        except KeyError:
            message = f"there is no index {name!r}: expected one of {', '.join(self.held)}"
            raise UnknownIndex(message) from None

    def check(self) -> None:
        """Tell before anything is opened what no waiting will mend.

        Raises
        ------
        IndexNotFound, IndexTooNew, IndexDamaged
        """
        for held in self.held.values():
            if snapshot.current_manifest(held.place) is None:
                message = f'{held.place}: nothing was built here yet. Run "annidx build" first.'
                raise IndexNotFound(message)

    def start(self, poll_s: float) -> None:
        """Open all of them, and look every `poll_s` seconds for newer ones, in threads."""
        memory.use_malloc()
        for held in self.held.values():
            watch = _watching(held, self._stop, poll_s)
            thread = threading.Thread(target=watch, name=f"watch {held.name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        for thread in self._threads:
            thread.join(5.0)


def _watching(held: Held, stop: threading.Event, poll_s: float) -> Callable[[], None]:
    def watch() -> None:
        # Listing a folder of a dozen names takes 20 microseconds, and unlike inotify it works on
        # network file systems as well.
        while True:
            held.refresh()
            if stop.wait(poll_s):
                return

    return watch
