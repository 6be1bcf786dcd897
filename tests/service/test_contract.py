"""The OpenAPI document against the service: no 5xx, no answer that is not documented."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.service.serving import Served, serving

MODES = {"as documented": GenerationMode.POSITIVE, "not so": GenerationMode.NEGATIVE}


@pytest.fixture(scope="module")
def served(unlike: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a service of an index of its own: requests add pictures."""
    copy = shutil.copytree(unlike, tmp_path_factory.mktemp("contract") / "index")
    with serving(Path(copy)) as service:
        yield service


@pytest.mark.parametrize("mode", MODES)
def test_every_answer_is_documented(served: Served, mode: str) -> None:
    api = schemathesis.openapi.from_url(f"{served.client.base_url}/openapi.json")
    operations = [result.ok() for result in api.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) > 10
    for operation in operations:

        @settings(
            max_examples=15,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=MODES[mode]))
        def check(case: Case[Any]) -> None:
            # Not all that has the documented form makes sense: a file need be no picture.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        with contextlib.suppress(Unsatisfiable):  # a route without parameters knows no wrong ones
            check()
