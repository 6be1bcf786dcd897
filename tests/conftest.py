"""Fixtures of all tests."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.commands.running import PICTURES, run

# Idle threads of BLAS spin, which beside other processes costs more than they bring.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A background job of a shell ignores Ctrl-C, and so would every command that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures, too large or not free enough for the repository.

    $ANNIDX_SHARED says where it is; by default it lies beside the repository. Without it, tests
    that need it are skipped, but in CI they fail, where a skip would go unnoticed.
    """
    folder = Path(os.environ.get("ANNIDX_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "data").is_dir():
        message = f"needs real pictures: {folder / 'data'} is no folder (set ANNIDX_SHARED)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def unlike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an index of two pictures that have nothing in common; not to be changed."""
    index = tmp_path_factory.mktemp("unlike") / "index"
    run("build", PICTURES / "scans", index=index)
    return index


@pytest.fixture
def small_index(unlike: Path, tmp_path: Path) -> Path:
    """Return a copy of the index of two pictures that may be changed."""
    return Path(shutil.copytree(unlike, tmp_path / "small index"))
