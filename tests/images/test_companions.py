"""annidx.images.companions: which names beside a picture are its own, and which are not."""

from __future__ import annotations

import random

import pytest

from annidx.images.companions import _TAILS, SIDECARS, Companions
from annidx.images.content import RAW_SUFFIXES


def beside(name: str, others: str) -> list[str]:
    """Return the companions of a name among others, separated by blanks."""
    names = [each.encode() for each in [name, *others.split()]]
    found = Companions(names).of(name.encode())
    assert list(found) == sorted(found)
    return [each.decode() for each in found]


@pytest.mark.parametrize(
    ("name", "companions", "others"),
    [
        # RAW + JPEG (+ HEIC), whatever the case
        ("IMG_1.JPG", "IMG_1.NEF", "IMG_10.NEF IMG_2.NEF IMG_1.png"),
        ("IMG_1.JPG", "img_1.nef", "img_11.nef"),
        ("IMG_1.NEF", "IMG_1.HEIC IMG_1.JPG", "IMG_1.png IMG_1.tif IMG_1.dng"),
        ("a.b.jpeg", "a.b.cr3", "a.cr3 a.jpg"),
        # two pictures of one stem belong to nobody
        ("a.jpg", "", "a.jpeg a.png a.heic a.JPG a.gif"),
        ("a.heic", "", "a.jpg"),
        ("a.nef", "", "a.dng"),
        ("a.png", "", "a.nef a.mov"),
        # Live Photos
        ("IMG_1.HEIC", "IMG_1.MOV", "IMG_2.MOV IMG_1.avi"),
        ("IMG_1.jpg", "IMG_1.mp4", "IMG_1.mkv"),
        ("IMG_1.HEIC", "IMG_1_HEVC.MOV", "IMG_2_HEVC.MOV"),
        ("IMG_1.nef", "", "IMG_1.mov"),
        # sidecars, by stem and by name
        *(
            (f"a{s}", f"a{s}.xmp a.xmp", "b.xmp a.xmp.bak")
            for s in (".png", ".jpg", ".tif", ".cr2")
        ),
        ("a.jpg", "a.jpg.xmp a.nef a.xmp", "a.nef.xmp a.jpg.xmp.xmp"),
        *(("A.jpg", f"a{suffix.decode().upper()}", "b.thm") for suffix in sorted(SIDECARS)),
        ("a.nef", "a.nef.dop a.nef.pp3", "a.jpg.dop b.nef.pp3"),
        # Apple: what was done to IMG_1234 goes with it, not with the edited IMG_E1234
        ("IMG_1234.HEIC", "IMG_1234.AAE IMG_O1234.AAE", "IMG_E1234.HEIC IMG_E1234.MOV"),
        ("IMG_E1234.JPG", "IMG_E1234.MOV", "IMG_1234.AAE IMG_O1234.AAE IMG_1234.HEIC IMG_1234.MOV"),
        ("IMG_E1234.JPG", "IMG_E1234.AAE", "IMG_1234.AAE"),
        ("photo_o2.jpg", "photo_o2.xmp", "photo_2.xmp"),
        # none
        ("a.jpg", "", "a.txt a.json a.pdf b.aae a.JPG.txt aXxmp xmp"),
        ("a.txt", "", "a.xmp a.txt.xmp a.txt.json"),
        ("a.mov", "", "a.jpg a.xmp a.thm"),
        ("noext", "", "noext.xmp"),
        ("line\nbreak.jpg", "", "break.xmp"),
    ],
)
def test_companions(name: str, companions: str, others: str) -> None:
    assert beside(name, f"{companions} {others}") == sorted(companions.split())


LONG = "a-very-long-name-of-a-picture-that-someone-chose"  # 48 characters


@pytest.mark.parametrize(
    ("name", "json"),
    [
        ("IMG_1.jpg", "IMG_1.jpg.json"),
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-metadata.json"),
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-met.json"),
        ("IMG_1.jpg", "IMG_1.jpg.s.json"),
        ("IMG_1.jpg", "IMG_1.jpg..json"),
        ("IMG_1.HEIC", "IMG_1.HEIC.JSON"),
        ("IMG_1(1).jpg", "IMG_1.jpg(1).json"),
        ("IMG_1(1).jpg", "IMG_1(1).jpg.json"),
        ("IMG_1(12).jpg", "IMG_1.jpg.supplemental-metadata(12).json"),
        ("IMG_1(12).jpg", "IMG_1.jpg.suppl(12).json"),
        # cut to 46 characters, number and suffix not counted
        (f"{LONG}.jpg", f"{LONG[:46]}.json"),
        (f"{LONG}(2).jpg", f"{LONG[:46]}(2).json"),
        (f"{LONG[:41]}.jpg", f"{LONG[:41]}.jpg.json"),  # 45
        (f"{LONG[:41]}.jpg", f"{LONG[:41]}.jpg..json"),  # a dot was left of the long word
        (f"{LONG[:42]}.jpg", f"{LONG[:42]}.jpg.json"),  # 46
        (f"{LONG[:43]}.jpg", f"{LONG[:43]}.jp.json"),  # 47
        ("é" * 50 + ".jpg", "é" * 46 + ".json"),  # characters, not bytes
        ("é" * 43 + ".jpg", "é" * 43 + ".jp.json"),
    ],
)
def test_google_takeout(name: str, json: str) -> None:
    assert beside(name, json) == [json]


@pytest.mark.parametrize(
    ("name", "json"),
    [
        ("IMG_1.jpg", "IMG_1.json"),
        ("IMG_1.jpg", "IMG_1.png.json"),
        ("IMG_1.jpg", "IMG_1.jpg(1).json"),
        ("IMG_1(1).jpg", "IMG_1.jpg.json"),
        ("IMG_1(1).jpg", "IMG_1.jpg(2).json"),
        ("IMG_1.jpg", "IMG_1.jpg.metadata.json"),
        ("IMG_1.jpg", "metadata.json"),
        (f"{LONG}.jpg", f"{LONG[:45]}.json"),
        (f"{LONG}.jpg", f"{LONG[:46]}(1).json"),
    ],
)
def test_another_json_of_takeout(name: str, json: str) -> None:
    assert beside(name, json) == []


def test_a_sidecar_may_belong_to_both_halves() -> None:
    names = [b"a.jpg", b"a.nef", b"a.xmp"]
    found = Companions(names)
    assert found.of(b"a.jpg") == (b"a.nef", b"a.xmp")
    assert found.of(b"a.nef") == (b"a.jpg", b"a.xmp")


def test_names_that_are_no_utf8() -> None:
    names = [
        b"\xff\xe9.jpg",
        b"\xff\xe9.nef",
        b"\xe9.nef",
        b"\xff\xe9.jpg.json",
        b"\xff" * 46 + b".json",
    ]
    found = Companions([*names, b"\xff" * 50 + b".jpg"])
    assert found.of(b"\xff\xe9.jpg") == (b"\xff\xe9.jpg.json", b"\xff\xe9.nef")
    assert found.of(b"\xff" * 50 + b".jpg") == (b"\xff" * 46 + b".json",)


def test_a_folder_without_companions_is_known_as_such() -> None:
    assert not Companions([b"a.jpg", b"b.JPG", b"c", b"d.txt", b"e.xmp/", b".", b""])
    for suffix in sorted(SIDECARS | RAW_SUFFIXES | {b".mov", b".mp4", b".json"}):
        for name in (b"a" + suffix, b"a" + suffix.upper()):
            assert Companions([b"b.png", name]), name
    assert {len(tail) for tail in _TAILS} == {4}  # so many bytes of a name are looked at


def test_the_order_of_the_names_does_not_matter() -> None:
    names = [b"a%d%s" % (at, s) for at in range(20) for s in (b".jpg", b".NEF", b".xmp", b".mov")]
    shuffled = random.Random(1).sample(names, len(names))
    assert shuffled != names
    one, other = Companions(names), Companions(shuffled)
    for name in names:
        assert one.of(name) == other.of(name)
    assert one.of(b"a7.jpg") == (b"a7.NEF", b"a7.mov", b"a7.xmp")
