"""annidx.store.manifest: there and back, and no damaged manifest that passes for another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from annidx.errors import IndexDamaged, IndexTooNew
from annidx.store.manifest import FORMAT, GraphEntry, Manifest, Root, SegmentEntry

numbers = st.integers(0, 2**62)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
shares = st.floats(0, 1)
texts = st.text(max_size=8)
paths = st.binary(max_size=40).map(lambda tail: b"/" + tail.replace(b"\0", b""))
roots = st.builds(
    Root,
    root_id=numbers,
    path=paths,
    status=st.sampled_from(["online", "offline"]),
    moved=st.booleans(),
)
segments = st.builds(
    SegmentEntry,
    sha256=digests,
    kind=st.sampled_from(["pictures", "other"]),
    rows=numbers,
    size=numbers,
    removed=st.lists(st.tuples(numbers, numbers), max_size=3).map(tuple),
)
graphs = st.builds(
    GraphEntry,
    metric=texts,
    sha256=digests,
    size=numbers,
    sidecar_sha256=digests,
    segments=st.lists(digests, max_size=3).map(tuple),
    nodes=numbers,
    recall=st.none() | shares,
    recall_low=st.none() | shares,
    recall_high=st.none() | shares,
    sampled_pairs=numbers,
    found_itself=shares,
    usable=st.booleans(),
)
counts = st.dictionaries(texts, numbers, max_size=3)
globs = st.lists(
    st.text(st.characters(exclude_categories=()), max_size=6),  # lone surrogates, too
    max_size=3,
).map(tuple)
manifests = st.builds(
    Manifest,
    number=numbers,
    created=texts,
    roots=st.lists(roots, max_size=3).map(tuple),
    segments=st.lists(segments, max_size=3).map(tuple),
    graphs=st.lists(graphs, max_size=2).map(tuple),
    next_image_id=numbers,
    next_root_id=numbers,
    counts=counts,
    left_out=counts,
    descriptors=counts,
    exclude=globs,
    graph_metrics=st.lists(texts, max_size=2).map(tuple),
)

EXAMPLE = Manifest(
    number=7,
    created="2026-11-05T03:00:00+00:00",
    roots=(Root(1, "/Ärchiv".encode()), Root(2, b"/caf\xe9", "offline", moved=True)),
    segments=(
        SegmentEntry("1a" * 32, "pictures", 300, 41_000, ((0, 5), (299, 1))),
        SegmentEntry("2b" * 32, "other", 1, 2_000),
    ),
    graphs=(
        GraphEntry(
            "thumb", "3c" * 32, 9, "4d" * 32, ("1a" * 32,), 294, 0.9995, 0.99, None, 17, 1.0, True
        ),
    ),
    next_image_id=302,
    next_root_id=3,
    counts={"ok": 294, "empty": 1},
    descriptors={"thumb": 1},
    exclude=("*.gif",),
    graph_metrics=("thumb",),
)


LONG = Root(4, b"/" + bytes(range(1, 256)))


@given(manifests)
@example(EXAMPLE)
@example(replace(EXAMPLE, roots=(LONG,)))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_there_and_back(manifest: Manifest) -> None:
    data = manifest.to_json()
    again = Manifest.from_json(data, "here")
    assert again == manifest
    assert again.to_json() == data  # canonical


def test_the_json_is_for_people_and_scripts() -> None:
    fields = json.loads(EXAMPLE.to_json())
    assert fields["format"] == FORMAT
    assert [root["path"] for root in fields["roots"]] == ["/Ärchiv", "/caf?"]
    assert [root["path_base64"] for root in fields["roots"]] == ["L8OEcmNoaXY=", "L2NhZuk="]
    assert list(fields) == sorted(fields)
    assert b" " not in EXAMPLE.to_json()


def test_rows_that_live() -> None:
    assert [entry.live for entry in EXAMPLE.segments] == [294, 1]


def parsed(data: bytes) -> Manifest | None:
    """Return the manifest, None when it is refused as damaged or too new; nothing else may be."""
    try:
        return Manifest.from_json(data, "here")
    except (IndexDamaged, IndexTooNew):
        return None


def test_a_flipped_bit_is_never_another_manifest() -> None:
    whole = EXAMPLE.to_json()
    passed = 0
    for at in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            found = parsed(bytes(damaged))
            assert found in (None, EXAMPLE)
            passed += found is not None
    assert passed <= 8  # "\\u00c4" and "\\u00C4" are one letter


def test_a_changed_byte_is_never_another_manifest() -> None:
    whole = EXAMPLE.to_json()
    for at in range(len(whole)):
        for byte in b'\0 "0,9}\\':
            if whole[at] != byte:
                assert parsed(whole[:at] + bytes([byte]) + whole[at + 1 :]) in (None, EXAMPLE)


def test_a_torn_manifest_is_damaged() -> None:
    whole = EXAMPLE.to_json()
    for length in range(len(whole)):
        with pytest.raises(IndexDamaged, match="here: "):
            Manifest.from_json(whole[:length], "here")


@pytest.mark.parametrize(
    "data",
    [
        *(b"null", b"[]", b"1", b'"text"', b"{}", b"\xff\xfe", b"[" * 50),
        *(b'{"format": 1}', b'{"format": "1", "checksum": 1}', b'{"format": null, "checksum": ""}'),
        b'{"checksum": "", "format": []}',
    ],
)
def test_what_is_no_manifest_at_all(data: bytes) -> None:
    with pytest.raises(IndexDamaged, match="here: "):
        Manifest.from_json(data, "here")


def test_deep_nesting_is_damage() -> None:
    with pytest.raises(IndexDamaged):
        Manifest.from_json(b"[" * 100_000, "here")


def test_both_checksums_are_in_the_message() -> None:
    edited = EXAMPLE.to_json().replace(b'"number":7', b'"number":8')
    checksum = json.loads(edited)["checksum"]
    with pytest.raises(IndexDamaged, match=f"here: its checksum is {checksum}, .* gives [0-9a-f]"):
        Manifest.from_json(edited, "here")


def test_a_newer_format() -> None:
    flipped = EXAMPLE.to_json().replace(b'"format":1', b'"format":3')
    with pytest.raises(IndexDamaged, match="checksum"):
        Manifest.from_json(flipped, "here")
    for content in (flipped.replace(b'"format":3', b'"format":2'), b'{"format":2,"checksum":""}'):
        with pytest.raises(IndexTooNew, match=r"here: .*format 2, .*up to 1"):
            Manifest.from_json(content, "here")
    with pytest.raises(IndexTooNew):  # whatever else a newer format holds
        Manifest.from_json(b'{"format": 99, "checksum": null, "news": [1]}', "here")


def test_a_new_key_is_no_new_format() -> None:
    """Written by the next version, read by this one."""
    fields = json.loads(EXAMPLE.to_json())
    del fields["checksum"]
    fields["news"] = {"a": [1]}
    for name in ("roots", "segments", "graphs"):
        for entry in fields[name]:
            entry["news"] = 5
    checksum = hashlib.sha256(canonical(fields)).hexdigest()
    assert Manifest.from_json(canonical({**fields, "checksum": checksum}), "here") == EXAMPLE


def canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def test_a_changed_field_changes_the_checksum() -> None:
    sums = {
        json.loads(each.to_json())["checksum"]
        for each in (EXAMPLE, replace(EXAMPLE, number=8), replace(EXAMPLE, exclude=()))
    }
    assert len(sums) == 3
