"""Pictures by their numbers: what a snapshot holds of one, wherever its row is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from annidx.errors import PictureNotFound
from annidx.model import Record
from annidx.store.snapshot import Snapshot


class Catalogue:
    """Finds pictures of a snapshot by `image_id`, safe to share between threads.

    Parameters
    ----------
    opened : Snapshot
    """

    def __init__(self, opened: Snapshot) -> None:
        self._opened = opened

    def record(self, image_id: int) -> Record:
        """Return a picture with its descriptors; the path of its file is absolute.

        Raises
        ------
        PictureNotFound
            When no readable picture of the snapshot has that number.
        """
        return self.records([image_id])[0]

    def records(self, image_ids: Sequence[int]) -> list[Record]:
        """Return several pictures, in the order of their numbers given; see :meth:`record`."""
        rows = np.array(list(map(self.row, image_ids)), np.intp)
        unique, places = np.unique(rows, return_inverse=True)
        found = [self._absolute(each) for each in self._opened.pictures.records(unique)]
        return [found[place] for place in places.tolist()]

    def _absolute(self, found: Record) -> Record:
        path = self._opened.folders[found.file.root_id] + found.file.path
        return replace(found, file=replace(found.file, path=path))

    def row(self, image_id: int) -> int:
        """Return the row of a picture; see :meth:`record`."""
        numbers, rows = self._sorted
        at = int(np.searchsorted(numbers, min(image_id, 2**63 - 1)))
        if at == len(numbers) or numbers[at] != image_id:
            where = f"snapshot {self._opened.manifest.number} of {self._opened.index}"
            message = f"there is no readable picture {image_id} in {where}"
            raise PictureNotFound(message)
        return int(rows[at])

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Numbers of the readable pictures, ascending."""
        return self._sorted[0]

    @cached_property
    def _sorted(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
        rows = np.flatnonzero(self._opened.pictures.live)
        numbers = self._opened.pictures.numbers("image_id")[rows]
        order = np.argsort(numbers, kind="stable")
        return numbers[order], rows[order]
