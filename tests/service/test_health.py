"""annidx.service.health and holder: probes, figures, and new snapshots while requests go on."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import weakref
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

import annidx
from annidx.errors import IndexDamaged, IndexNotFound
from annidx.service import freeing
from annidx.service.holder import Held, Holder, NotLoaded
from annidx.store import files, snapshot
from tests.commands.running import PICTURES, run
from tests.service.serving import Served, problem, serving, until


def publish_again(index: Path) -> int:
    """Publish the current snapshot under the next number, and return that."""
    manifest = snapshot.current_manifest(index)
    assert manifest is not None
    with files.writer_lock(index):
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return snapshot.publish(index, replace(manifest, created=created)).number


def test_probes(served: Served) -> None:
    assert served.get("/livez").json() == {"status": "ok"}
    assert served.get("/readyz").json() == {"status": "ok"}


def test_the_snapshot_is_described(served: Served, index: Path) -> None:
    told = served.get("/v1/snapshot").json()
    manifest = annidx.open(index).manifest
    assert (told["snapshot"], told["pictures"]) == (manifest.number, 63)
    assert told["descriptors"] == dict(manifest.descriptors)
    assert [graph["recall"] for graph in told["graphs"]] == [
        graph.recall for graph in manifest.graphs
    ]
    assert told["age_seconds"] >= 0


SAMPLE = r'annidx_[a-z_]+(\{([a-z]+="([^"\\\n]|\\.)*",?)+\})? -?[0-9.e+-]+'


def test_figures_are_in_the_form_that_prometheus_reads(served: Served) -> None:
    served.get("/v1/snapshot")
    served.get("/nothing/<script>")
    text = served.get("/metrics").text
    lines = text.splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert [line for line in samples if not re.fullmatch(SAMPLE, line)] == []
    named = {line.split("{")[0].split(" ")[0] for line in samples}
    typed = {line.split(" ")[2] for line in lines if line.startswith("# TYPE ")}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in named} == typed
    assert "script" not in text
    for name in (
        "annidx_request_seconds_bucket",
        "annidx_queue_taken",
        "annidx_rejected_total",
        "annidx_snapshot_age_seconds",
        "annidx_pictures",
        "annidx_recall",
        "annidx_reloads_total",
    ):
        assert name in named, name
    asked = 'annidx_requests_total{route="/v1/snapshot",method="GET",status="200"}'
    before = [float(line.split(" ")[1]) for line in samples if line.startswith(asked)]
    served.get("/v1/snapshot")
    after = served.get("/metrics").text
    assert f"{asked} {before[0] + 1:g}" in after
    buckets = re.findall(r'bucket\{route="/v1/snapshot",le="[^"]+"\} (\d+)', after)
    assert [int(each) for each in buckets] == sorted(map(int, buckets))
    assert int(buckets[-1]) == before[0] + 1


def test_not_ready_until_loaded(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    load = Held._load

    def slowly(held: Held) -> bool:
        go_on.wait(60)
        return load(held)

    monkeypatch.setattr(Held, "_load", slowly)
    with serving(small_index, wait=False) as served:
        assert served.get("/livez").status_code == 200
        assert "not loaded" in problem(served.get("/readyz"), 503)["detail"]
        problem(served.post("/v1/query", json={"id": 1}), 503)
        problem(served.get("/v1/snapshot"), 503)
        assert 'annidx_ready{index="default"} 0' in served.get("/metrics").text
        go_on.set()
        until(lambda: served.get("/readyz").status_code == 200)


def test_not_ready_when_the_snapshot_is_too_old(small_index: Path) -> None:
    manifest = snapshot.current_manifest(small_index)
    assert manifest is not None
    long_ago = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="seconds")
    snapshot.publish(small_index, replace(manifest, created=long_ago))
    with serving(small_index, max_age_s=3600.0, wait=False) as served:
        until(lambda: served.service.holder.of().is_loaded)
        assert "more than 3600 s" in problem(served.get("/readyz"), 503)["detail"]
        assert served.post("/v1/query", json={"id": 1}).status_code == 200
        publish_again(small_index)
        until(lambda: served.get("/readyz").status_code == 200)
        snapshot.publish(small_index, replace(manifest, created=long_ago))
        until(lambda: served.get("/readyz").status_code == 503)
        run("build", index=small_index)  # which finds no change, and publishes nothing
        until(lambda: served.get("/readyz").status_code == 200)
        assert served.get("/v1/snapshot").json()["walked_seconds_ago"] < 3600
        assert served.get("/v1/snapshot").json()["age_seconds"] > 3600
    with serving(small_index, max_age_s=None, wait=False) as served:
        until(lambda: served.get("/readyz").status_code == 200)


def test_new_pictures_are_found_once_they_are_published(tmp_path: Path) -> None:
    album, index = tmp_path / "album", tmp_path / "index"
    album.mkdir()
    shutil.copy(PICTURES / "scans" / "cameraman.jpg", album)
    run("build", album, index=index)
    coffee = PICTURES / "2020-home" / "coffee.jpg"
    with serving(index) as served:
        sent = {"files": {"file": coffee.read_bytes()}}
        assert served.post("/v1/query", **sent).json()["matches"] == []
        shutil.copy(coffee, album)
        run("build", index=index)
        until(lambda: served.get("/v1/snapshot").json()["snapshot"] == 2)
        (match,) = served.post("/v1/query", **sent).json()["matches"]
        assert match["path"] == str(album / "coffee.jpg")
        assert served.post("/v1/reload").json()["reloaded"] is False


def test_reload_does_not_wait_for_the_next_look(small_index: Path) -> None:
    with serving(small_index, poll_s=3600.0) as served:
        number = publish_again(small_index)
        assert served.get("/v1/snapshot").json()["snapshot"] == number - 1
        told = served.post("/v1/reload").json()
        assert told == {"index": "default", "snapshot": number, "reloaded": True}
        assert served.post("/v1/reload").json()["reloaded"] is False


def test_a_damaged_snapshot_leaves_the_old_one_in_place(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(small_index) as served:
        (small_index / "snapshots" / "00000002.json").write_bytes(b"{")
        monkeypatch.setattr(snapshot, "current", _damaged)
        with pytest.raises(IndexDamaged):
            served.service.holder.of().load()
        problem(served.post("/v1/reload"), 503)
        monkeypatch.undo()
        assert served.get("/readyz").status_code == 200
        assert served.post("/v1/query", json={"id": 1}).json()["snapshot"] == 1
        publish_again(small_index)
        until(lambda: served.get("/v1/snapshot").json()["snapshot"] == 3)
        assert 'annidx_reload_failures_total{index="default"} 2' in served.get("/metrics").text


def _damaged(_: Path) -> None:
    message = "a segment is missing"
    raise IndexDamaged(message)


def test_no_request_fails_or_mixes_snapshots_while_they_are_swapped(small_index: Path) -> None:
    """Each snapshot has one more name for its root, which every answer must agree upon."""
    with serving(small_index, waiting=50) as served:
        stop, wrong, seen = threading.Event(), [], set()

        def ask() -> None:
            while not stop.is_set():
                answer = served.post("/v1/query/batch", json={"ids": [1, 2, 1], "cutoff": 1e6})
                if answer.status_code != 200:
                    wrong.append(answer.text)
                    return
                told = answer.json()
                numbers = {each["snapshot"] for each in told["results"]} | {told["snapshot"]}
                root = {
                    match["path"].split("/")[1]
                    for each in told["results"]
                    for match in each["matches"]
                }
                if root != {f"root{max(numbers)}"} or len(numbers) != 1:
                    wrong.append(json.dumps(told))
                seen.update(numbers)

        _move_root(small_index)
        until(lambda: served.get("/v1/snapshot").json()["snapshot"] == 2)
        asking = [threading.Thread(target=ask) for _ in range(4)]
        for thread in asking:
            thread.start()
        for _ in range(8):
            until(partial(_is_either, seen, wrong, _move_root(small_index)))
        stop.set()
        for thread in asking:
            thread.join()
        assert wrong == []
        assert len(seen) >= 8


def _is_either(seen: set[int], wrong: list[str], number: int) -> bool:
    return number in seen or bool(wrong)


def _move_root(index: Path) -> int:
    """Publish a snapshot whose root is called like its number."""
    manifest = snapshot.current_manifest(index)
    assert manifest is not None
    number = manifest.number + 1
    (root,) = manifest.roots
    moved = (replace(root, path=b"/root%d" % number),)
    return snapshot.publish(index, replace(manifest, roots=moved)).number


def test_what_is_not_there_is_said_before_anything_is_served(tmp_path: Path, index: Path) -> None:
    with pytest.raises(IndexNotFound):
        Holder({"default": index, "other": tmp_path / "none"}).check()
    with pytest.raises(NotLoaded, match="being opened"):
        _ = Holder({"default": index}).of().index


def test_a_snapshot_that_was_replaced_is_freed(small_index: Path) -> None:
    with serving(small_index) as served:
        held = served.service.holder.of()
        old = weakref.ref(held.index)
        served.post("/v1/query", json={"id": 1})
        publish_again(small_index)
        until(lambda: held.index.manifest.number == 2)
        time.sleep(0.2)
        assert old() is None


def test_a_snapshot_that_a_request_still_has_is_freed_when_that_is_done(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[bool] = []
    with serving(small_index, poll_s=0.02) as served:
        held = served.service.holder.of()
        asking = held.index
        old = weakref.ref(asking)
        publish_again(small_index)
        until(lambda: held.index.manifest.number == 2)
        time.sleep(0.2)
        monkeypatch.setattr(
            freeing, "give_back_free_memory", lambda: given_back.append(old() is None)
        )
        assert old() is not None
        del asking
        until(lambda: given_back, 10)
        assert given_back == [True]
