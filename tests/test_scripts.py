"""Tests of scripts/run and its environment, and of what the repository may hold; all offline."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOOLS = ("bash", "dirname", "env", "grep", "mv", "sha256sum", "uname")
# In two parts, so that this file passes its own test.
REGISTRY_HOSTS = (
    ("pypi", ".org"),
    ("pythonho", "sted.org"),
    ("npmjs", ".org"),
    ("deb.debian", ".org"),
    ("security.debian", ".org"),
    ("archive.ubuntu", ".com"),
)
MEGABYTE = 1_000_000

FAKE_PYTHON = """\
#!{bash}
for code; do :; done
exec {python} -I -c {lie} "$code"
"""

FAKE_ANNIDX = """\
#!{bash}
echo "$*"
case $1 in
    build) exit "${{BUILD_STATUS-0}}" ;;
    pairs) exit "${{PAIRS_STATUS-0}}" ;;
esac
"""


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs {name}")
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what scripts/run needs, without .venv, in a folder with a space in its name."""
    root = tmp_path / "a checkout"
    for name in ("requirements", "scripts"):
        shutil.copytree(REPOSITORY / name, root / name)
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    return root


@pytest.fixture
def path_without_python(tmp_path: Path) -> Path:
    """A folder for PATH with the few commands that the scripts call."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(tool(name))
    return folder


def run(
    checkout: Path,
    *arguments: str,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Call scripts/run with PATH, HOME and `environment` only."""
    return subprocess.run(
        [tool("bash"), str(checkout / "scripts" / "run"), *arguments],
        cwd=cwd or checkout,
        env={"PATH": os.environ["PATH"], "HOME": str(checkout)} | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shell(checkout: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run bash code that may call the functions of scripts/lib.sh."""
    return subprocess.run(
        [tool("bash"), "-euc", f'. "$0/scripts/lib.sh"; {code}', str(checkout), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write_executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_python(path: Path, lie: str) -> Path:
    """A Python that is not what it says: `lie` runs before the code that it is given."""
    code = shlex.quote(f"import sys\n{lie}\nexec(sys.argv[1])")
    python = shlex.quote(sys.executable)
    return write_executable(path, FAKE_PYTHON.format(bash=tool("bash"), python=python, lie=code))


@pytest.fixture
def installed(checkout: Path) -> Path:
    """A checkout with a .venv that scripts/run takes as done; its annidx prints its arguments."""
    binaries = checkout / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    write_executable(binaries / "annidx", FAKE_ANNIDX.format(bash=tool("bash")))
    version = ".".join(map(str, sys.version_info[:3]))
    result = shell(checkout, 'write_stamp runtime "$1"', version)
    assert result.returncode == 0, result.stderr
    return checkout


def assert_one_line(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("scripts/run: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_printed_and_nothing_installed(checkout: Path, option: str) -> None:
    result = run(checkout, option)
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: scripts/run [FOLDER...]\n")
    assert result.stderr == ""
    assert not (checkout / ".venv").exists()


def test_an_unknown_option_is_wrong_usage(checkout: Path) -> None:
    result = run(checkout, "--fast")
    assert result.returncode == 2
    assert "--fast" in result.stderr


def test_a_missing_folder_is_said_before_anything_is_installed(checkout: Path) -> None:
    result = run(checkout, ".", "no such folder")
    assert_one_line(result, "there is no folder no such folder")
    assert not (checkout / ".venv").exists()


def test_a_file_is_not_a_folder(checkout: Path) -> None:
    assert_one_line(run(checkout, "pyproject.toml"), "pyproject.toml is not a folder")


def test_no_python_at_all(checkout: Path, path_without_python: Path) -> None:
    result = run(checkout, environment={"PATH": str(path_without_python)})
    assert_one_line(result, "no Python 3.11 or later found: install one", "PYTHON")


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("sys.version_info = (3, 9, 18, 'final', 0)", "no Python 3.11 or later found ("),
        ("sys.maxsize = 2**31 - 1", "is a 32-bit build"),
        ("sys.modules['ensurepip'] = None", "python3-venv"),
    ],
    ids=["old", "32-bit", "no venv"],
)
def test_an_unfit_python_is_named(
    checkout: Path, path_without_python: Path, lie: str, said: str
) -> None:
    python = fake_python(path_without_python / "somepython", lie)
    result = run(checkout, environment={"PATH": str(path_without_python), "PYTHON": str(python)})
    assert_one_line(result, str(python), said)
    assert not (checkout / ".venv").exists()


def test_a_fitting_python_is_preferred_to_an_old_one(
    checkout: Path, path_without_python: Path
) -> None:
    fake_python(path_without_python / "python3", "sys.version_info = (3, 9, 18)")
    fake_python(path_without_python / "python3.14", "sys.version_info = (3, 99, 0)")
    fake_python(path_without_python / "python3.12", "sys.version_info = (3, 12, 4)")
    code = 'PATH=$1; unset PYTHON; find_python; echo "$python $python_version"'
    result = shell(checkout, code, str(path_without_python))
    assert result.stdout == "python3.12 3.12.4\n"


@pytest.mark.parametrize(
    ("cpuinfo", "missing"),
    [
        ("flags\t\t: fpu sse4_1 sse4_2 avx\n", None),
        ("flags\t\t: fpu sse4_1 popcnt\n", "sse4_2"),
        ("flags\t\t: fpu sse4a popcnt\n", "sse4_1"),
        ("Features\t: fp asimd\n", None),
    ],
)
def test_processors(checkout: Path, cpuinfo: str, missing: str | None) -> None:
    file = checkout / "cpuinfo"
    file.write_text(cpuinfo)
    result = shell(checkout, 'check_processor "$1"', str(file))
    assert result.returncode == (0 if missing is None else 1)
    assert (missing or "") in result.stderr


def test_without_a_folder_the_demo_is_shown(installed: Path) -> None:
    result = run(installed)
    assert (result.returncode, result.stdout, result.stderr) == (0, "demo\n", "")


def test_folders_are_built_and_only_pairs_go_to_stdout(installed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "my pictures").mkdir(parents=True)
    result = run(installed, "my pictures", ".", cwd=elsewhere)
    assert result.returncode == 0
    assert result.stdout == "pairs\n"
    assert result.stderr == "build -- my pictures .\n"


@pytest.mark.parametrize(
    ("build", "pairs", "expected", "stdout"),
    [
        (0, 0, 0, "pairs\n"),
        (0, 1, 1, "pairs\n"),
        (3, 0, 3, "pairs\n"),
        (3, 12, 12, "pairs\n"),
        (11, 0, 11, ""),
        (130, 0, 130, ""),
    ],
)
def test_exit_codes(installed: Path, build: int, pairs: int, expected: int, stdout: str) -> None:
    statuses = {"BUILD_STATUS": str(build), "PAIRS_STATUS": str(pairs)}
    result = run(installed, ".", environment=statuses)
    assert (result.returncode, result.stdout) == (expected, stdout)


@pytest.mark.parametrize("change", ["requirements", "pyproject", "moved", "no stamp", "no annidx"])
def test_a_stamp_that_does_not_fit_means_not_ready(installed: Path, change: str) -> None:
    code = "unset PYTHON; is_ready runtime && ! is_ready dev"
    assert shell(installed, code).returncode == 0
    match change:
        case "requirements":
            with (installed / "requirements" / "runtime.txt").open("a") as file:
                file.write("# new\n")
        case "pyproject":
            with (installed / "pyproject.toml").open("a") as file:
                file.write("# new\n")
        case "moved":
            installed = installed.rename(installed.parent / "moved")
        case "no stamp":
            (installed / ".venv" / ".annidx-stamp").unlink()
        case "no annidx":
            (installed / ".venv" / "bin" / "annidx").unlink()
    result = shell(installed, "unset PYTHON; is_ready runtime")
    assert (result.returncode, result.stderr) == (1, "")


def test_an_environment_of_another_making_is_left_alone(checkout: Path) -> None:
    precious = checkout / ".venv" / "precious"
    precious.parent.mkdir()
    precious.touch()
    result = shell(checkout, "make_venv")
    assert result.returncode == 1
    assert "was not made by this script" in result.stderr
    assert precious.exists()


def normalised(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_every_dependency_is_pinned_with_hashes() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    pinned = {}
    for kind in ("runtime", "dev", "bench"):
        text = (REPOSITORY / "requirements" / f"{kind}.txt").read_text()
        entries = re.findall(r"^\S.*(?:\n[ ].*)*", re.sub(r"(?m)^#.*\n", "", text), re.MULTILINE)
        assert all("--hash=sha256:" in entry and "==" in entry for entry in entries)
        pinned[kind] = {normalised(entry) for entry in entries}
    asked = {*project["project"]["dependencies"], *project["dependency-groups"]["build"]}
    assert {normalised(line) for line in asked} <= pinned["runtime"]
    assert pinned["runtime"] <= pinned["dev"]
    assert pinned["runtime"] <= pinned["bench"]
    extras = project["project"]["optional-dependencies"]
    for kind in ("dev", "bench"):
        assert {normalised(line) for line in extras[kind]} <= pinned[kind]


@pytest.fixture(scope="module")
def project_files() -> list[Path]:
    """Every file that is or could be committed."""
    git = tool("git")
    result = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=60,
        check=False,
    )
    if result.returncode != 0:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / os.fsdecode(name) for name in result.stdout.split(b"\0") if name]
    return [file for file in files if file.is_file()]


def test_no_file_names_a_registry_host_or_this_folder(project_files: list[Path]) -> None:
    hosts = "|".join(re.escape(first + rest) for first, rest in REGISTRY_HOSTS)
    unwanted = re.compile(rf"{hosts}|{re.escape(str(REPOSITORY))}(?![\w-])".encode())
    found = [
        (str(file.relative_to(REPOSITORY)), match[0])
        for file in project_files
        if (match := unwanted.search(file.read_bytes()))
    ]
    assert found == []


def test_files_stay_small(project_files: list[Path]) -> None:
    sizes = {str(file.relative_to(REPOSITORY)): file.stat().st_size for file in project_files}
    assert {name: size for name, size in sizes.items() if size > 2 * MEGABYTE} == {}
    assert sum(size for name, size in sizes.items() if name.startswith("data/")) < 3 * MEGABYTE


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("bench_search.py", {"--work", "--only", "--most", "--repeat", "--plot", "--json"}),
        ("bench_accuracy.py", {"--descriptors", "--tools", "--query", "--json", "--plot"}),
        ("bench_extract.py", {"--work", "--photos", "--only", "--czkawka-python", "--json"}),
        ("fuzz_extract.py", {"--minutes", "--seed", "--findings"}),
        ("torture_memory.py", {"--work", "--json"}),
    ],
)
def test_scripts_say_how_they_are_called(script: str, options: set[str], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / script, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    _, _, listed = result.stdout.partition("\noptions:\n")
    known = set(re.findall(r"--[a-z-]+", listed))
    assert options <= known
    assert set(re.findall(r"--[a-z-]+", result.stdout)) <= known
    assert list(tmp_path.iterdir()) == []
