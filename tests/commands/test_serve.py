"""annidx serve: where it listens, what it refuses, how it ends; through the real command."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.commands.running import (
    PICTURES,
    Word,
    complaint,
    entry_point,
    environment,
    usage_error,
)
from tests.service.serving import until


@contextlib.contextmanager
def serving(*words: Word, code: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Run ``annidx serve`` until the block ends, by SIGTERM if it has not ended by then."""
    command = [str(entry_point()), "serve", *map(str, words)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment({})
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.terminate()
            said = running.stderr.read() if running.stderr else ""
    assert running.returncode == code, said
    assert "Traceback" not in said


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline()


def test_it_says_where_it_listens_and_ends_with_a_summary(index: Path) -> None:
    with serving("--index", index, "--port", "0", "--json") as running:
        told = json.loads(line(running))
        assert told["message_type"] == "listening"
        assert told["address"].startswith("http://127.0.0.1:")
        assert httpx.get(f"{told['address']}/livez").status_code == 200
        port = told["address"].rpartition(":")[2]
        said = complaint("serve", "--port", port, index=index, code=1)
        assert f"cannot listen on 127.0.0.1:{port}" in said
        running.terminate()
        summary = json.loads(line(running))
        running.wait(60)
    assert (summary["message_type"], summary["requests"]) == ("summary", 1)


def test_ctrl_c_ends_it_as_everything_and_takes_the_socket_along(
    index: Path, tmp_path: Path
) -> None:
    place = tmp_path / "socket"
    with serving("--index", index, "--socket", place, code=130) as running:
        assert line(running) == f"listening on unix:{place}\n"
        assert place.is_socket()
        running.send_signal(signal.SIGINT)
        assert line(running) == "0 requests answered\n"
        running.wait(60)
    assert not place.exists()


def test_indexes_have_names(index: Path, unlike: Path) -> None:
    names = ("--name", f"one={unlike}", "--name", f"two={index}")
    with serving("--port", "0", "--json", *names) as running:
        where = json.loads(line(running))["address"]
        with httpx.Client(base_url=where, transport=httpx.HTTPTransport(retries=2)) as client:
            while client.get("/readyz").status_code == 503:
                pass
            assert client.get("/v1/snapshot").json()["pictures"] == 2
            two = client.get("/v1/snapshot?index=two").json()
    assert (two["pictures"], two["indexes"]) == (63, ["one", "two"])


def test_what_makes_no_sense_is_refused(index: Path, tmp_path: Path) -> None:
    assert "--token-file" in complaint("serve", "--host", "0.0.0.0", index=index, code=2)
    token = tmp_path / "token"
    token.write_text("short")
    token.chmod(0o600)
    assert "16 or more" in complaint("serve", "--token-file", token, index=index, code=2)
    token.chmod(0o644)
    assert "chmod 600" in complaint("serve", "--token-file", token, index=index, code=1)
    assert "expected NAME=DIR" in complaint("serve", "--name", "x", index=index, code=2)
    assert "expected NAME=DIR" in complaint("serve", "--name", "a b=x", index=index, code=2)
    twice = ("--name", "default=x")
    assert "another index of that name" in complaint("serve", *twice, index=index, code=2)
    assert "0 to 65535" in usage_error("serve", "--port", "65536", index=index)


def test_no_index_is_said_at_once(tmp_path: Path, index: Path) -> None:
    complaint("serve", "--port", "0", index=tmp_path, code=10)
    complaint("serve", "--port", "0", "--name", f"b={tmp_path}", index=index, code=10)


@pytest.mark.parametrize("option", ["--max-upload", "--workers", "--max-age"])
def test_limits_are_read(option: str) -> None:
    assert "expected" in usage_error("serve", option, "-3x")


def test_thresholds_are_kept_to_and_refused_at_once(unlike: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(unlike, tmp_path / "copy")
    thresholds = ("--metric", "thumb", "--reject", "0", "--review", "5000.5")
    with serving("--index", copy, "--port", "0", "--json", *thresholds) as running:
        where = json.loads(line(running))["address"]
        until(lambda: httpx.get(f"{where}/readyz").status_code == 200)
        scan = (PICTURES / "scans" / "cameraman.jpg").read_bytes()
        other = (PICTURES / "2020-home" / "coffee.jpg").read_bytes()
        told = [
            httpx.post(
                f"{where}/v1/query", files={"file": data}, data={"judge": "true"}, timeout=60
            )
            for data in (scan, other)
        ]
        assert [each.json()["verdict"] for each in told] == ["reject", "review"]
        assert [each.json()["cutoff"] for each in told] == [5000.5, 5000.5]
        assert {each.json()["metric"] for each in told} == {"thumb"}
    for wrong, why in [
        (("--reject", "2", "--review", "1"), "expected 0 <= reject <= review"),
        (("--metric", "gray8"), "holds"),
        (("--metric", "hash"), "hash"),
    ]:
        assert why in complaint("serve", "--port", "0", *wrong, index=copy, code=2)
    for option, value in (("--reject", "-1"), ("--review", "nan")):
        usage_error("serve", option, value, index=copy)
