"""annidx review: the link that is printed, the browser, the end; through the real command."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.commands.running import complaint, demo_build, entry_point, environment, usage_error
from tests.service.serving import until


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_build(tmp_path_factory)[0]


@pytest.mark.parametrize("opens", [True, False])
def test_the_link_is_printed_and_opened_and_lets_in(
    index: Path, tmp_path: Path, opens: bool
) -> None:
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" >"{told}.new" && mv "{told}.new" "{told}"\n')
    browser.chmod(0o755)
    words = [] if opens else ["--no-browser"]
    command = [str(entry_point()), "review", "--index", str(index), "--json", *words]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({"BROWSER": str(browser)}),
    ) as running:
        try:
            assert running.stdout is not None
            link = json.loads(running.stdout.readline())["address"]
            answer = httpx.get(link, trust_env=False, timeout=60)
            assert (answer.status_code, answer.headers["location"]) == (303, "/review")
            assert httpx.get(link, trust_env=False, timeout=60).status_code == 403
            if opens:
                until(told.exists)
        finally:
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert json.loads(out)["requests"] == 2
    assert "Traceback" not in err
    assert told.exists() == opens
    if opens:
        assert told.read_text() == link


def test_what_is_refused(index: Path, tmp_path: Path) -> None:
    complaint("review", "--no-browser", index=tmp_path, code=10)
    assert "unknown rule" in complaint("review", "--keep", "best", index=index, code=2)
    assert "0 to 65535" in usage_error("review", "--port", "65536", index=index)
