"""annidx schedule: what it prints is run, and read by systemd itself."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from annidx.cli import make_parser
from annidx.commands import schedule
from annidx.commands.units import Job, crontab_line, service_unit, timer_unit
from annidx.errors import UsageError
from tests.commands.running import complaint, entry_point, environment, json_lines, run, usage_error
from tests.faults import missing

ODD = 'it\'s "100%" of $HOME; `é` %h #1 *'
NOT_UTF8 = os.fsdecode(b"b\xff d")
ECHO = "import os, sys; sys.stdout.buffer.write(bytes(1).join(map(os.fsencode, sys.argv[1:])))"
NIGHTLY = ["build", "--quiet", "--fail-on", "new", "--lock-wait", "3600"]

Loaded = Mapping[str, Sequence[str]]


def job(index: str = "/i", *, metrics_file: str | None = None, roots: Sequence[str] = ()) -> Job:
    """Return a job that prints its arguments, the index among them."""
    arguments = [index] if metrics_file is None else [index, metrics_file]
    return Job((sys.executable, "-c", ECHO), arguments, index, metrics_file, roots, 4, 5)


def echoed(command: Sequence[str] | str) -> list[str]:
    """Run what prints its arguments; a str is for the shell."""
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    done = subprocess.run(words, capture_output=True, check=True, env=environment({}))
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")]


@pytest.fixture
def odd_index(small_index: Path, tmp_path: Path) -> Path:
    """Return an index whose path has whatever some quoting gets wrong."""
    return small_index.rename(tmp_path / ODD)


# cron


def cron_of_debian(line: str) -> str:
    """Return what cron hands to the shell: it takes the backslash off the percent sign."""
    assert not re.search(r"(?<!\\)%", line)
    return line.replace(r"\%", "%")


def cron_of_vixie(line: str) -> str:
    """Return the same where cron leaves that to the shell."""
    assert not re.search(r"(?<!\\)%", line)
    return line


@pytest.mark.parametrize("cron", [cron_of_debian, cron_of_vixie])
@pytest.mark.parametrize("path", [f"/{ODD}", f"/{NOT_UTF8}", "/plain/100%", "/%", "/a'%'b", "/-n"])
def test_a_crontab_says_every_path(cron: Callable[[str], str], path: str) -> None:
    lines = crontab_line(job(path, roots=["/r"])).split("\n")
    assert [line[:1] for line in lines] == ["#", "#", "5", ""]
    minute, hour, *days, command = lines[2].split(" ", 5)
    assert (minute, hour, days) == ("5", "4", ["*", "*", "*"])
    assert command.startswith("nice -n 19 ionice -c 3 /")
    assert echoed(cron(command)) == [path]


@pytest.mark.parametrize("path", ["/a\\b", "/a\nb"])
def test_what_a_crontab_cannot_say_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="use --print systemd, or another path"):
        crontab_line(job(path))


def test_the_crontab_line_runs_and_says_nothing(odd_index: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "100 %.prom"
    words = ("--at", "23:59", "--metrics-file", "100 %.prom", "--lock-wait", "0.5")
    done = run("schedule", "--print", "cron", *words, index=ODD, cwd=tmp_path)
    assert done.stderr == ""
    line = done.stdout.splitlines()[-1]
    assert line.startswith("59 23 * * * nice -n 19 ionice -c 3 ")
    command = cron_of_debian(line.split(" ", 5)[5])
    wanted = ["build", "--quiet", "--fail-on", "new", "--lock-wait", "0.5"]
    wanted += ["--metrics-file", str(metrics), "--index", str(odd_index)]
    assert shlex.split(command)[6:] == [str(entry_point()), *wanted]
    built = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, check=False, env=environment({}), cwd="/"
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, b"", b"")
    assert "annidx_pictures" in metrics.read_text()


# systemd


@pytest.fixture
def short() -> Iterator[Path]:
    """Yield a folder with a short path: the name of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    """The program that reads units; without it such tests are skipped, but fail in CI."""
    found = shutil.which("systemd-analyze")
    if found is None:
        missing("needs systemd-analyze: scripts/ci-setup installs it")
    return found


@pytest.fixture
def load(systemd_analyze: str, tmp_path: Path) -> Callable[..., dict[str, Loaded]]:
    """Let systemd read units without a complaint; return by unit what it made of them."""
    folder = tmp_path / "units"
    folder.mkdir()
    variables = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(tmp_path), "SYSTEMD_COLORS": "0"}

    def analyze(manager: str, paths: Sequence[Path], level: str) -> tuple[str, str]:
        done = subprocess.run(
            [systemd_analyze, f"--{manager}", "--man=no", "verify", *paths],
            capture_output=True,
            env=environment({**variables, "SYSTEMD_LOG_LEVEL": level}),
            check=False,
        )
        said = os.fsdecode(done.stderr)
        assert done.returncode == 0, said
        return os.fsdecode(done.stdout), said

    def reads(units: Mapping[str, str], manager: str = "user") -> dict[str, Loaded]:
        for name, text in units.items():
            (folder / name).write_bytes(os.fsencode(text))
        paths = [folder / name for name in units]
        said = analyze(manager, paths, "info")[1].split("\n")
        assert [line for line in said if any(name in line for name in units)] == []
        return {
            path.name: dumped(analyze(manager, [path], "debug")[0], path.name) for path in paths
        }

    return reads


def dumped(text: str, name: str) -> Loaded:
    """Return the settings of one unit from what systemd-analyze prints when it debugs."""
    found: dict[str, list[str]] = {}
    mine = False
    for line in text.split("\n"):
        if unit := re.search(r"-> Unit (.*):$", line):
            mine = unit[1] == name
        setting = re.match(r"\t+([A-Z][A-Za-z ]+): (.*)", line)
        if mine and setting:
            found.setdefault(setting[1], []).append(setting[2])
    assert found, text
    return found


def words_of(command: str) -> list[str]:
    """Return the words of a command line that systemd printed, variables taken for done."""
    escapes = {"n": b"\n", "t": b"\t"}

    def unescaped(found: re.Match[str]) -> str:
        escape = found[1]
        raw = bytes([int(escape, 8)]) if escape.isdigit() else escapes.get(escape, escape.encode())
        return os.fsdecode(raw)

    words = re.findall(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', command)
    return [
        re.sub(r"\\([0-7]{3}|.)", unescaped, quoted or plain).replace("$$", "$")
        for quoted, plain in words
    ]


def units_of(text: str) -> dict[str, str]:
    """Split what was printed into units, as the help says it."""
    parts = re.split(r"(?m)^# (annidx.*\.(?:service|timer))$\n", text)
    assert parts[0] == ""
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("manager", ["user", "system"])
def test_the_units_are_clean_and_run(
    odd_index: Path, tmp_path: Path, load: Callable[..., dict[str, Loaded]], manager: str
) -> None:
    metrics = tmp_path / "m %h" / "a.prom"
    metrics.parent.mkdir()
    words = ["--metrics-file", str(metrics), *(["--system"] if manager == "system" else [])]
    done = run("schedule", "--print", "systemd", *words, index=odd_index)
    assert done.stderr == ""
    (service, timer), loaded = units_of(done.stdout), load(units_of(done.stdout), manager)
    assert timer == service.replace(".service", ".timer")
    assert service.startswith("annidx-it-s-100-of-HOME-h-1-")
    found = loaded[service]
    wanted = [*NIGHTLY, "--metrics-file", str(metrics), "--index", str(odd_index)]
    command = words_of(found["Command Line"][0])
    assert command == [str(entry_point()), *wanted]
    roots = os.fsdecode(json_lines("roots", "list", index=odd_index)[0][0]["path"])
    assert found["ReadWritePaths"] == [f"-{odd_index} -{metrics.parent}"]
    assert found["ReadOnlyPaths"] == [f"-{roots}"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["ProtectHome"] == ["read-only"]
    assert (found["Type"], found["Nice"]) == (["oneshot"], ["19"])
    assert found["CPUSchedulingPolicy"] == ["batch"]
    assert found["IOSchedulingClass"] == ["idle"]
    name = service.removesuffix(".service")
    assert (found["RuntimeDirectory"], found["CacheDirectory"]) == ([name], ["annidx"])
    assert any(line.endswith(f"/{name}") for line in found["Environment"])
    assert found.get("User", []) == ([odd_index.owner()] if manager == "system" else [])
    assert loaded[timer]["Persistent"] == ["yes"]
    assert loaded[timer]["OnCalendar"] == ["*-*-* 03:30:00"]

    built = subprocess.run(command, capture_output=True, check=False, env=environment({}), cwd="/")
    assert (built.returncode, built.stdout, built.stderr) == (0, b"", b"")
    assert metrics.exists()


@pytest.mark.parametrize(
    "path", [f"/{ODD}", "/a\\b\\", "/a\tb\nc", f"/{NOT_UTF8}", "/$x $$", "/a;"]
)
def test_units_say_every_path(path: str, load: Callable[..., dict[str, Loaded]]) -> None:
    here = job(path, metrics_file=f"{path}/m", roots=["/r", f"{path}-r", path])
    units = {f"{here.name}.service": service_unit(here, None)}
    found = load(units)[f"{here.name}.service"]
    command = words_of(found["Command Line"][0])
    assert echoed(command) == [path, f"{path}/m"]
    if path.isprintable():
        assert found["ReadWritePaths"] == [f"-{path} -{path}"]
        assert found["ReadOnlyPaths"] == [f"-/r -{path}-r"]
    else:
        assert "ProtectSystem=strict" not in units[f"{here.name}.service"]


def test_a_root_that_cannot_be_listed_is_named_in_a_comment(
    load: Callable[..., dict[str, Loaded]],
) -> None:
    here = job(roots=["/r", f"/{NOT_UTF8}"])
    text = service_unit(here, None)
    assert load({"annidx-a.service": text})["annidx-a.service"]["ReadOnlyPaths"] == ["-/r"]
    assert "# Read-only like all else, but not to be listed: /b\\xff d\n" in text


def test_each_unit_says_how_it_is_installed() -> None:
    for user, folder, systemctl in (
        (None, "~/.config/systemd/user", "systemctl --user"),
        ("anna", "/etc/systemd/system", "systemctl"),
    ):
        here = job()
        for text, kind in (
            (service_unit(here, user), "service"),
            (timer_unit(here, user), "timer"),
        ):
            header = text.partition("[Unit]")[0]
            assert header.startswith(f"# {here.name}.{kind}\n")
            assert f" {folder}/{here.name}.{kind};" in header
            assert f"#   {systemctl} daemon-reload\n" in header
            assert f"#   {systemctl} enable --now {here.name}.timer\n" in header
        assert ("User=anna\n" in service_unit(here, user)) == (user is not None)
    assert "SuccessExitStatus=3\n" in service_unit(job(), None)
    assert "RandomizedDelaySec=" in timer_unit(job(), None)


READ_ONLY = """
set -e
mount --make-rprivate /
for path in "$1" "$2" "$3" "$4"; do mount --bind "$path" "$path"; done
mount -o remount,bind,ro /
"""


def test_a_build_needs_no_other_place_to_write(
    small_index: Path, tmp_path: Path, short: Path
) -> None:
    """As in the service: only the index, the metrics and two folders of its own are writable."""
    names = ("metrics", "cache/annidx")
    places = [small_index, *(tmp_path / name for name in names), short / "run"]
    for place in places[1:]:
        place.mkdir(parents=True)
    script = f'{READ_ONLY}\nmkdir "$2/in"; ! mkdir "$(dirname "$2")/out" 2>/dev/null || exit 99\n'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, places)]
    try:
        trial = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        missing("needs unshare")
    if trial.returncode != 0:
        missing(f"may not mount here: {trial.stderr.decode()}")
    prefix = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'{READ_ONLY}\nshift {len(places)}\nexec "$@"',
        "sh",
    ]
    words = ("--rebuild", "--metrics-file", places[1] / "m.prom")
    done = run(
        "build",
        "--quiet",
        *words,
        index=small_index,
        prefix=[
            "env",
            f"TMPDIR={places[3]}",
            f"XDG_CACHE_HOME={places[2].parent}",
            *prefix,
            *map(str, places),
        ],
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert (places[1] / "m.prom").exists()


# Both


def test_json_is_one_object_a_unit(small_index: Path) -> None:
    rows, summary = json_lines("schedule", "--print", "systemd", index=small_index)
    assert [row["name"].rpartition(".")[2] for row in rows] == ["service", "timer"]
    assert "\n".join(row["text"] for row in rows) == (
        run("schedule", "--print", "systemd", index=small_index).stdout
    )
    assert summary == {"print": "systemd", "units": 2, "roots": 1}
    rows, summary = json_lines("schedule", "--print", "cron", index=small_index)
    assert [row["name"] for row in rows] == ["crontab"]


def test_before_the_first_build(tmp_path: Path) -> None:
    for form in ("cron", "systemd"):
        text = run("schedule", "--print", form, "--fail-on", "any", index=tmp_path / "none").stdout
        assert '# It has no roots yet: run "annidx build FOLDER" once, first.\n' in text
        assert f"--fail-on any --lock-wait 3600 --index {tmp_path}/none\n" in text
        assert "ReadOnlyPaths" not in text
    assert not (tmp_path / "none").exists()


def test_a_path_that_is_not_utf8_is_printed_as_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [entry_point(), "schedule", "--print", "cron", "--index", os.fsencode(tmp_path) + b"/\xff"],
        capture_output=True,
        check=True,
        env=environment({"PYTHONIOENCODING": "latin-1"}),
    )
    assert done.stdout.endswith(b"/\xff'\n")


@pytest.mark.parametrize("time", ["24:00", "3:60", "330", "03:30:00", "", "-1:00", "٠٣:٣٠"])
def test_times_that_are_none(time: str) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["schedule", "--print", "cron", "--at", time])


def test_options_that_do_not_fit() -> None:
    assert "--print" in usage_error("schedule")
    words = ("--print", "cron", "--at", "24:00")
    assert "argument --at: 24:00: expected a time such as 03:30" in usage_error("schedule", *words)
    line = complaint("schedule", "--print", "cron", "--system", code=2)
    assert "--system says where units of systemd go" in line
    line = complaint("schedule", "--print", "cron", "--metrics-file", "", code=2)
    assert "--metrics-file is empty" in line


def test_each_index_has_units_of_its_own() -> None:
    assert job("/home/anna/.local/share/annidx/default").name == "annidx"
    names = {job(path).name for path in ("/a/index", "/b/index", "/a/index 2", "/é")}
    assert len(names) == 4
    assert all(re.fullmatch(r"annidx-(index|index-2)-[0-9a-f]{6}", name) for name in names)


def test_which_command_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("annidx", "python"):
        (tmp_path / "bin" / name).touch(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", "/usr/bin/none/python")
    monkeypatch.setattr(sys, "argv", ["bin/annidx", "schedule"])
    assert schedule._program() == [str(tmp_path / "bin" / "annidx")]
    monkeypatch.setattr(sys, "argv", ["/x/annidx/__main__.py", "schedule"])
    assert schedule._program() == ["/usr/bin/none/python", "-m", "annidx"]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert schedule._program() == [str(tmp_path / "bin" / "annidx")]
