"""Groups of an archive with writing in it: what looks alike from afar is not one group.

Pages on like paper, letters of two sides, chats and slides (tests/pages.py), some of them rescanned
or sent on, photos with light edits, and pictures with next to no information.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

import annidx
from annidx.found import Groups
from annidx.index import Index
from annidx.model import Linkage
from tests.commands.running import PICTURES
from tests.pages import KINDS, blanks, set_of_writing

PHOTOS = [
    "2019-holiday/aitzgorri-meadow.jpg",
    "2019-holiday/forest-stream.jpg",
    "2019-holiday/picos-trail.jpg",
    "2019-holiday/summit-sunset.jpg",
    "2020-home/coffee.jpg",
    "2020-home/paint brushes.jpg",
    "2020-home/wine-corner.jpg",
    "scans/brick-wall.jpg",
]
BLANKS = 5


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Return an index of them all; a file's name begins with its family, an underscore follows."""
    folder = tmp_path_factory.mktemp("writing") / "archive"
    folder.mkdir()
    writing = [*set_of_writing(0, 40, ["page"]), *set_of_writing(0, 16, list(KINDS)[1:])]
    for made in (*writing, *blanks(0, BLANKS)):
        made.image.save(folder / f"{made.family}_{made.name}.jpg", quality=90)
    for at, name in enumerate(PHOTOS):
        save_edits(Image.open(PICTURES / name), folder / f"photo-{at}")
    annidx.build([folder], index=folder.parent / "index")
    return annidx.open(folder.parent / "index")


def save_edits(photo: Image.Image, stem: Path) -> None:
    photo.save(f"{stem}_original.jpg", quality=92)
    photo.save(f"{stem}_recompressed.jpg", quality=35)
    photo.resize((photo.width // 2, photo.height // 2)).save(f"{stem}_half.jpg", quality=80)
    ImageEnhance.Brightness(photo).enhance(1.04).save(f"{stem}_brighter.jpg", quality=90)


def families(paths: Sequence[str], kind: str) -> list[str]:
    """Return the families of those pictures that are of a kind, or whose families start so."""
    names = (Path(path).name.partition("_")[0] for path in paths)
    return [name for name in names if name.startswith(f"{kind}-")]


def pairs_of(counts: Iterator[int]) -> int:
    return sum(math.comb(count, 2) for count in counts)


def judged(index: Index, groups: Groups, kind: str) -> tuple[float, float, int]:
    """Return precision and recall of the pairs inside groups, and the largest impure group."""
    parts = [families(group.paths, kind) for group in groups]
    inside = pairs_of(len(part) for part in parts)
    true = pairs_of(count for part in parts for count in Counter(part).values())
    snapshot = index.snapshot
    everything = [path.decode() for path in snapshot.paths(snapshot.pictures.live.nonzero()[0])]
    possible = pairs_of(iter(Counter(families(everything, kind)).values()))
    impure = max((len(part) for part in parts if len(set(part)) > 1), default=0)
    return true / inside if inside else 1.0, true / possible, impure


METRICS = ("fingerprint", "thumb")


@pytest.fixture(scope="module")
def found(index: Index) -> dict[str, Groups]:
    """Return the groups by the default rule, by metric."""
    return {metric: index.groups(metric=metric) for metric in METRICS}


@pytest.mark.parametrize(
    ("metric", "kind", "precision", "recall", "impure"),
    [
        ("fingerprint", "page", 1.0, 0.30, 0),  # of the rescans, thumbs and signatures find more
        ("fingerprint", "letter", 1.0, 0.85, 0),
        ("fingerprint", "chat", 1.0, 0.95, 0),
        ("fingerprint", "slide", 1.0, 0.95, 0),
        ("fingerprint", "photo", 1.0, 0.97, 0),
        ("thumb", "page", 0.70, 0.80, 4),
        ("thumb", "letter", 0.95, 0.95, 0),
        ("thumb", "chat", 0.95, 0.95, 0),
        ("thumb", "slide", 0.95, 0.95, 0),
        ("thumb", "photo", 1.0, 0.97, 0),
    ],
)
def test_the_default_rule(
    index: Index,
    found: dict[str, Groups],
    metric: str,
    kind: str,
    precision: float,
    recall: float,
    impure: int,
) -> None:
    measured = judged(index, found[metric], kind)
    assert measured[0] >= precision
    assert measured[1] >= recall
    assert measured[2] <= impure


@pytest.mark.parametrize("kind", ["page", "letter", "slide"])
def test_thumbs_alone_make_one_group_of_a_kind(index: Index, kind: str) -> None:
    """Else there would be nothing that the default rule has to hold apart."""
    groups = index.groups(metric="thumb", unconfirmed=True)
    precision, recall, impure = judged(index, groups, kind)
    assert precision < 0.1
    assert recall == 1.0
    assert impure >= 16


@pytest.mark.parametrize("metric", ["thumb", "signature", "fingerprint"])
@pytest.mark.parametrize("unconfirmed", [False, True])
def test_no_complete_group_is_wider_than_the_cutoff(
    index: Index, metric: str, unconfirmed: bool
) -> None:
    groups = index.groups(metric=metric, linkage="complete", unconfirmed=unconfirmed)
    assert len(groups) > 20
    assert max(group.diameter for group in groups) <= groups.answer.cutoff


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("linkage", ["connected", "complete", "star"])
def test_photos_and_their_light_edits_stay_together(
    index: Index, linkage: Linkage, metric: str
) -> None:
    groups = index.groups(metric=metric, linkage=linkage)
    photos = [group for group in groups if families(group.paths, "photo")]
    assert sorted(len(group.paths) for group in photos) == [4] * len(PHOTOS)


def test_pictures_without_information_are_counted_and_make_no_group(
    index: Index, found: dict[str, Groups]
) -> None:
    """Scanned empty pages, grain, one colour, faint gradients: near one another, and no copies."""
    for kind in ("empty-page", "grain", "colour", "gradient"):
        for groups in found.values():
            assert not any(families(group.paths, kind) for group in groups)
    assert BLANKS < found["thumb"].low_information <= 4 * BLANKS


def test_pairs_that_were_left_out_are_counted(index: Index, found: dict[str, Groups]) -> None:
    assert found["thumb"].unconfirmed > 300
    assert index.groups(metric="thumb", unconfirmed=True).unconfirmed == 0
