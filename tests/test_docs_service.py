"""docs/service.md: its examples are run against a real service, its tables are what is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annidx.cli import make_parser
from annidx.service.settings import Settings
from tests.commands.running import PICTURES, REPOSITORY, run
from tests.service.serving import Served, serving

PAGE = (REPOSITORY / "docs" / "service.md").read_text(encoding="utf-8")
WHERE = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", PAGE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the examples expect to find."""
    made = tmp_path_factory.mktemp("examples")
    shutil.copy(PICTURES / "2020-home" / "coffee-mirrored.jpg", made / "upload.jpg")
    return made


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    run("build", PICTURES / "2020-home", PICTURES / "scans", index=folder / "index")
    with serving(folder / "index") as service:
        yield service


def here(text: str, served: Served) -> str:
    """Return an example that asks the service of the tests."""
    assert Settings().port == 8000
    return text.replace(WHERE, f"http://127.0.0.1:{served.port}")


def printed(block: str, served: Served, folder: Path) -> list[dict[str, Any]]:
    """Return the JSON objects that a shell example prints."""
    command = ["bash", "-euo", "pipefail", "-c", here(block, served)]
    clean = {name: each for name, each in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        command, cwd=folder, env=clean, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
    while text:
        each, end = decoder.raw_decode(text)
        found.append(each)
        text = text[end:].lstrip()
    return found


def test_shell_examples(served: Served, folder: Path) -> None:
    asking, filtered, groups, uploads = (printed(each, served, folder) for each in blocks("sh"))
    assert [match["kind"] for match in asking[0]["matches"]] == ["identical", "edited", "edited"]
    assert {match["kind"] for match in filtered[0]["matches"]} <= {"identical", "edited"}
    assert filtered[0]["matches"]
    assert groups[0]["message_type"] == "summary"
    put, found, judged, gone = uploads
    assert (put["verdict"], put["stored"], put["created"]) == ("reject", True, True)
    assert [match["key"] for match in found["matches"]] == ["offer-17"]
    assert judged["verdict"] == "reject"
    assert gone["deleted"] is True


def test_python_examples(
    served: Served,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(here(block, served), "docs/service.md", "exec"), names)
    assert "coffee" in capsys.readouterr().out
    assert len(names["near"]) == len(names["numbers"]) >= 2
    assert names["picture"]["image_id"] == names["numbers"][0]
    assert names["small"].content.startswith(b"\xff\xd8")
    assert names["neighbours"]["matches"]
    assert names["answer"].status_code == 404
    assert names["offered"]("again", (folder / "upload.jpg").read_bytes()) == "reject"
    assert served.get("/v1/images/again").status_code == 404
    names["service"].close()


def test_commands_are_taken() -> None:
    commands = re.findall(r"annidx (serve[^\n`:]*)(?:\n|`)", PAGE)
    assert len(commands) >= 4
    for command in commands:
        make_parser().parse_args(shlex.split(command))


def test_the_unit_is_one_and_names_what_the_proxies_name(tmp_path: Path) -> None:
    (unit,) = blocks("ini")
    file = tmp_path / "annidx-serve.service"
    file.write_text(unit.replace("/usr/local/bin/annidx", "/bin/true"))
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(
            ["systemd-analyze", "verify", file], check=False, capture_output=True, text=True
        )
        assert str(file) not in checked.stderr
        assert file.name not in checked.stderr
    (place,) = re.findall(r"--socket (\S+)", unit)
    (host,) = re.findall(r"--allow-host (\S+)", unit)
    (nginx,) = blocks("nginx")
    (caddy,) = blocks("caddy")
    assert f"http://unix:{place};" in nginx
    assert f"server_name {host};" in nginx
    assert f"unix/{place}" in caddy
    assert caddy.startswith(f"{host} {{")
    assert f"{Settings().max_upload // 1_000_000}m;" in nginx


def test_tables_are_what_is_there(served: Served) -> None:
    served.get("/livez")
    told = set(re.findall(r"(?m)^# TYPE (\w+)", served.get("/metrics").text))
    (table,) = re.findall(r"(?ms)^\| metric \|.*?\n\n", PAGE)
    assert set(re.findall(r"`(annidx_\w+)`", table)) >= told
    statuses = set(re.findall(r"(?m)^\| (\d{3}) \|", PAGE))
    documented = {
        status
        for route in served.get("/openapi.json").json()["paths"].values()
        for method in route.values()
        for status in method["responses"]
        if int(status) >= 400
    }
    assert documented <= statuses
