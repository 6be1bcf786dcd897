"""annidx.cli: the parser, help, the place of the index, streams; through the real command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from annidx.cli import VERBS
from tests.commands.running import (
    PICTURES,
    REPOSITORY,
    complaint,
    demo_build,
    entry_point,
    environment,
    run,
    usage_error,
)

ACTIONS = ("list", "add", "remove", "move")
HELPS = [
    *([verb] for verb in VERBS),
    *(["roots", action] for action in ACTIONS),
    *(["export", what] for what in ("pictures", "pairs", "groups")),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shared index over the shipped pictures; not to be changed."""
    return demo_build(tmp_path_factory)[0]


def entries(text: str) -> dict[str, str]:
    """Return the options and arguments of a help text, each with what is said about it."""
    found = {}
    shape = r"^  {1,4}(-\S.*?|[A-Z]+|[a-z]+)(?:(?:  +|\n {20,})(\S.*))?$"
    body = text.partition("\n\nexamples:")[0]
    body = body[body.index("\n\n") :]
    for name, meaning in re.findall(shape, body, re.MULTILINE):
        found[name] = meaning
    return found


@cache
def help_of(*words: str) -> str:
    """Return what a verb says about itself."""
    done = run(words[0], *words[1:], "--help")
    assert done.stderr == ""
    return done.stdout


def options(text: str) -> set[str]:
    """Return the options that a help text lists."""
    return {word for name in entries(text) for word in re.findall(r"(?<!\S)--?[a-z0][a-z-]*", name)}


def test_help_lists_every_verb_and_every_exit_code() -> None:
    text = run("--help").stdout
    assert set(VERBS) <= entries(text).keys()
    for code in (0, 1, 2, 3, 10, 11, 12, 13, 14, 20, 130):
        assert re.search(rf"(?m)(^|   ?){code} [a-z]", text), code
    assert "examples:\n  annidx build ~/Photos" in text


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_documents_every_option_and_gives_examples(words: list[str]) -> None:
    text = help_of(*words)
    listed = entries(text)
    assert "-h, --help" in listed
    assert [name for name, meaning in listed.items() if not meaning] in ([], ["ACTION"], ["WHAT"])
    assert {"--index", "--json", "--quiet", "--verbose"} <= options(text)
    if len(words) == 1:
        assert f"examples:\n  annidx {words[0]}" in text


def test_the_readme_names_every_verb_and_every_option() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"annidx {verb}" in readme
    for words in HELPS:
        missing = [word for word in options(help_of(*words)) if word not in readme]
        assert [word for word in missing if word not in ("-h", "--help")] == []


def test_help_imports_nothing_heavy() -> None:
    script = "import sys; from annidx.cli import main\n"
    script += "try: main(sys.argv[1:])\n"
    script += "except SystemExit: print(*sys.modules, file=sys.stderr)"
    for words in (["--help"], ["pairs", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
        )
        loaded = {name.split(".")[0] for name in done.stderr.split()}
        assert "annidx" in loaded
        assert loaded & {"numpy", "pyarrow", "PIL", "nmslib", "multiprocess", "tqdm"} == set()


def test_version_and_python_m() -> None:
    version = run("--version").stdout
    assert re.fullmatch(r"annidx \d+\.\d+\.\d+\n", version)
    command = [sys.executable, "-m", "annidx", "--version"]
    as_module = subprocess.run(
        command, capture_output=True, text=True, env=environment({}), check=True
    )
    assert as_module.stdout == version


@pytest.mark.parametrize("place", ["before", "after"])
def test_common_options_stand_before_or_after_the_verb(index: Path, place: str) -> None:
    common = ["--index", str(index), "--json"]
    words = [*common, "status"] if place == "before" else ["status", *common]
    answer = json.loads(run(words[0], *words[1:]).stdout)
    assert (answer["message_type"], answer["images"]) == ("summary", 63)


def test_quiet_before_the_verb(index: Path) -> None:
    assert run("--quiet", "--index", index, "verify").stdout == ""


def test_what_stands_after_the_verb_wins(index: Path, tmp_path: Path) -> None:
    run("--index", tmp_path / "nowhere", "status", "--index", index)
    run("--index", index, "status", "--index", tmp_path / "nowhere", code=10)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--met", "thumb"], "--met"),
        (["--exac"], "--exac"),
        (["--no-such-option"], "--no-such-option"),
        (["--cutoff", "near"], "near"),
        (["--cutoff"], "--cutoff"),
        (["-k", "3"], "-k 3"),
        (["more"], "more"),
    ],
)
def test_the_parser_names_what_it_refuses(index: Path, words: list[str], named: str) -> None:
    assert named in usage_error("pairs", *words, index=index)


@pytest.mark.parametrize("words", [["pairs"], ["roots", "list"]], ids=" ".join)
def test_what_a_verb_does_not_know_shows_its_usage(words: list[str]) -> None:
    said = run(*words, "--no-such-option", code=2).stderr
    assert said.startswith(f"usage: annidx {' '.join(words)} ")
    assert said.endswith(
        f"annidx {' '.join(words)}: error: unrecognized arguments: --no-such-option\n"
    )


def test_unknown_and_missing_verbs() -> None:
    last = usage_error("bild")
    assert "'bild'" in last
    assert "build" in last
    assert "VERB" in usage_error("--quiet")
    assert "ACTION" in usage_error("roots")
    assert "'ad'" in usage_error("roots", "ad")


def test_no_index_says_where_and_what_to_do(tmp_path: Path) -> None:
    place = tmp_path / "missing"
    said = f'annidx: {place}: there is no index here. Run "annidx build FOLDER" first.\n'
    for verb in ("pairs", "verify", "query"):
        words = [PICTURES / "scans" / "brick-wall.jpg"] if verb == "query" else []
        assert complaint(verb, *words, index=place, code=10) == said
    assert not place.exists()


def test_a_file_or_a_foreign_folder_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "not a folder" in complaint("pairs", index=tmp_path / "file", code=10)
    assert f"{tmp_path}: there is no index here" in complaint("pairs", index=tmp_path, code=10)


def test_where_the_index_lies_by_default(index: Path, tmp_path: Path) -> None:
    (tmp_path / "annidx").mkdir()
    (tmp_path / "annidx" / "default").symlink_to(index)
    line = f"index      {tmp_path / 'annidx' / 'default'}\n"
    assert run("status", XDG_DATA_HOME=str(tmp_path)).stdout.startswith(line)
    both = run("status", XDG_DATA_HOME=str(tmp_path / "no"), ANNIDX_INDEX=str(index))
    assert both.stdout.startswith(f"index      {index}\n")
    line = complaint("status", ANNIDX_INDEX=str(index), index=tmp_path / "named", code=10)
    assert str(tmp_path / "named") in line
    home = complaint("status", HOME=str(tmp_path), code=10)
    assert f"{tmp_path}/.local/share/annidx/default: there is no index here" in home


@pytest.mark.parametrize("words", [["pairs", "--cutoff", "inf"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(index: Path, words: list[str]) -> None:
    """What is printed overflows the pipe, whose reader takes one line."""
    where = [] if words == ["--help"] else ["--index", str(index)]
    with subprocess.Popen(
        [entry_point(), *words, *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"PYTHONUNBUFFERED": ""}),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) in {0, 1}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_behind_stdout(index: Path) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - no file of ours
        done = subprocess.run(
            [entry_point(), "pairs", "--index", index],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment({}),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"annidx: ")
    assert b"No space left on device" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("verb", ["pairs", "query", "nonsense"])
def test_a_full_disk_behind_all_that_is_printed(index: Path, verb: str) -> None:
    """Nobody can be told: the exit code is what annidx says, and not Python's own 120."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - no file of ours
        done = subprocess.run(
            [entry_point(), verb, "--index", index],
            stdout=full,
            stderr=full,
            env=environment({}),
            check=False,
        )
    assert done.returncode in {1, 2}


def test_stdout_that_is_closed(index: Path) -> None:
    command = f"exec {entry_point()} status --index '{index}' >&-"
    done = subprocess.run(
        ["sh", "-c", command], stderr=subprocess.PIPE, env=environment({}), check=False
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in {0, 1}


@pytest.fixture(scope="module")
def abroad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index of two equal pictures with names beyond ASCII."""
    folder = tmp_path_factory.mktemp("abroad")
    for name in ("日本.jpg", "é.jpg"):
        (folder / name).write_bytes((PICTURES / "scans" / "cameraman.jpg").read_bytes())
    run("build", folder, index=folder / "index")
    return folder / "index"


def printed(index: Path, encoding: str, *words: str) -> list[bytes]:
    """Return the lines of annidx pairs on a stdout of that encoding."""
    done = subprocess.run(
        [entry_point(), "pairs", "--index", index, *words],
        capture_output=True,
        env=environment({"PYTHONIOENCODING": encoding}),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.splitlines()


def test_a_terminal_that_is_not_utf8(abroad: Path) -> None:
    assert b"\\xe9.jpg  \\u65e5\\u672c.jpg" in printed(abroad, "ascii")[0]
    row = json.loads(printed(abroad, "latin-1", "--json")[0])
    assert [Path(row[key]).name for key in "ab"] == ["é.jpg", "日本.jpg"]
