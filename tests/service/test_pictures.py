"""annidx.service.pictures: facts of a picture, and its thumbnail."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import pytest
from PIL import Image

import annidx
from tests.commands.running import run
from tests.service.serving import Served, problem, serving

HOSTILE = [
    b"<script>alert(1)<script>.jpg",
    b"\"'><img src=x onerror=alert(1)>.jpg",
    b"line\nbreak\r.jpg",
    "\u202egpj.exe.jpg".encode(),
    b"not utf-8 \xff\xfe.jpg",
    b"\x1b[31mred\x07.jpg",
]


def test_facts_are_those_of_the_index(served: Served, index: Path) -> None:
    record = annidx.open(index).picture(7)
    told = served.get("/v1/images/7").json()
    assert told["path"] == os.fsdecode(record.file.path)
    assert (told["width"], told["height"], told["size"]) == (
        record.width,
        record.height,
        record.file.size,
    )
    assert told["content_hash"] == record.content_hash.hex()
    assert told["first_seen"].endswith("+00:00")
    assert (told["index"], told["snapshot"]) == ("default", 1)
    problem(served.get("/v1/images/9999"), 404)
    problem(served.get("/v1/images/x"), 404)
    problem(served.get("/v1/images/-1"), 404)
    problem(served.get("/v1/images/x/thumbnail"), 422)


def test_a_thumbnail_is_made_anew(served: Served, index: Path) -> None:
    original = Path(os.fsdecode(annidx.open(index).picture(7).file.path)).read_bytes()
    answer = served.get("/v1/images/7/thumbnail", params={"size": "64"})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert max(image.size) == 64
    assert original[:2000] not in answer.content
    assert answer.content not in original
    for size in ("0", "1025", "x"):
        problem(served.get("/v1/images/7/thumbnail", params={"size": size}), 422)
    problem(served.get("/v1/images/9999/thumbnail"), 404)


def test_pictures_that_are_gone_have_none(tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    Image.new("RGB", (40, 30), "red").save(album / "a.png")
    run("build", album, index=tmp_path / "index")
    with serving(tmp_path / "index") as served:
        assert served.get("/v1/images/1/thumbnail").status_code == 200
        (album / "a.png").unlink()
        assert "cannot be shown" in problem(served.get("/v1/images/1/thumbnail"), 404)["detail"]
        (album / "a.png").symlink_to("/etc/passwd")
        problem(served.get("/v1/images/1/thumbnail"), 404)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index of copies whose names are attacks."""
    album, index = (tmp_path_factory.mktemp("hostile") / name for name in ("album", "index"))
    album.mkdir()
    for at, name in enumerate(HOSTILE):
        noisy = Image.effect_noise((64, 48), 60).convert("RGB")
        noisy.putpixel((0, 0), (at, 0, 0))
        noisy.save(album / os.fsdecode(name), "JPEG")
    run("build", album, index=index)
    return index


def test_names_come_back_as_they_are_and_as_nothing_else(hostile: Path) -> None:
    with serving(hostile) as served:
        names = set()
        for number in range(1, len(HOSTILE) + 1):
            answer = served.get(f"/v1/images/{number}")
            assert answer.headers["content-type"] == "application/json"
            assert all(0x20 <= byte < 0x7F for byte in answer.content)
            names.add(raw_path(answer.json()).rpartition(b"/")[2])
            near = served.post("/v1/query", json={"id": number, "cutoff": 1e6, "k": 100})
            assert all(0x20 <= byte < 0x7F for byte in near.content)
            assert len({raw_path(match) for match in near.json()["matches"]}) == len(HOSTILE) - 1
            assert served.get(f"/v1/images/{number}/thumbnail").status_code == 200
        assert names == set(HOSTILE)


def raw_path(told: dict[str, str]) -> bytes:
    if "path_base64" in told:
        return base64.b64decode(told["path_base64"])
    return told["path"].encode()
