"""annidx.catalogue: pictures by their numbers, whatever was removed and in whatever order."""

from __future__ import annotations

import os

import pytest

from annidx import Index
from annidx.errors import PictureNotFound
from tests.archive import RECORDS, index_of, path_of


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return index_of(tmp_path_factory.mktemp("catalogue") / "index", RECORDS, graph=False)


def test_a_picture_comes_with_its_descriptors_and_its_absolute_path(index: Index) -> None:
    row = RECORDS[7]
    found = index.picture(row.image_id)
    assert found.descriptors == row.descriptors
    assert found.file.path == path_of(index, row)
    assert (found.image_id, found.width, found.content_hash) == (7, row.width, row.content_hash)


def test_numbers_are_those_of_the_pictures_that_are_there(index: Index) -> None:
    removed = RECORDS[0].image_id  # by the index, see index_of
    assert index.picture_ids().tolist() == sorted(
        row.image_id for row in RECORDS if row.image_id != removed
    )


@pytest.mark.parametrize("number", [0, 66, 10_000, -1, 2**63, -(2**70)])
def test_what_is_not_there_is_said(index: Index, number: int) -> None:
    with pytest.raises(PictureNotFound, match=f"no readable picture {number} in snapshot 1"):
        index.picture(number)


def test_a_picture_of_the_index_is_not_its_own_neighbour(index: Index) -> None:
    row = RECORDS[7]
    found = index.query(index.picture(row.image_id), metric="thumb", cutoff=300, k=None)
    paths = {os.fsencode(match.path) for match in found}
    assert found.query == os.fsdecode(path_of(index, row))
    assert paths
    assert path_of(index, row) not in paths
