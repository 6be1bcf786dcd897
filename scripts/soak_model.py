"""The stateful model of tests/test_model.py for longer: random changes, builds, crashes, damage.

scripts/soak_model.py --examples 500 --steps 40
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.test_model import IndexModel


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the model; a failure is printed with the steps that lead to it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--steps", type=int, default=30, help="of each example, at most")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    started = time.monotonic()
    chosen = settings(
        max_examples=args.examples,
        stateful_step_count=args.steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(args.seed)(IndexModel), settings=chosen)
    print(
        f"{args.examples} examples of up to {args.steps} steps, {time.monotonic() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
