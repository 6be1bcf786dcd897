"""annidx.workers: order, laziness, dead and stuck workers, and that nothing is left behind."""

import ctypes
import functools
import itertools
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import multiprocess
import pytest
from multiprocess import forkserver

from annidx.errors import WorkerError
from annidx.workers import Again, Lost, map_items, worker_count

REPOSITORY = Path(__file__).parents[1]

pytestmark = pytest.mark.timeout(30)  # what goes wrong here may well hang


@pytest.fixture(scope="module", autouse=True)
def fork_server() -> Iterator[None]:
    """Start what stays for the next call, so that the tests can count descriptors.

    Workers get sys.path of this process and import the functions below from here.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        patch.syspath_prepend(str(REPOSITORY))
        list(run(double, [[0]], preload=["pytest", "multiprocess.connection"]))
        yield


@pytest.fixture(autouse=True)
def nothing_left(fork_server: None) -> Iterator[None]:
    """After each test: no child process, no open descriptor more than before."""
    before = open_descriptors()
    yield
    assert multiprocess.active_children() == []
    deadline = time.monotonic() + 2
    while open_descriptors() != before and time.monotonic() < deadline:
        time.sleep(0.05)  # what another thread of the test process has open for a moment
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie that nobody has reaped yet does not."""
    answer = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()[:1] not in {"", "Z"}


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def run(function: Callable[[Any], Any], batches: Any, **changes: Any) -> Any:
    options: dict[str, Any] = {"workers": 2, "timeout_s": 20.0, "on_lost": lambda *both: both}
    return map_items(function, batches, **options | changes)


def batched(numbers: range, size: int) -> list[list[int]]:
    return [list(numbers[i : i + size]) for i in range(0, len(numbers), size)]


# --- functions that run in the workers ----------------------------------------------------------


def double(number: int) -> int:
    return 2 * number


def process_id(_: int) -> int:
    return os.getpid()


def uneven(number: int) -> int:
    time.sleep(0.005 * (number * 7 % 5))
    return number


def tick(folder: Path, number: int) -> int:
    """Count how often each number is worked on; some numbers end or block the worker."""
    with (folder / str(number)).open("a") as file:
        file.write("x")
    if number % 10 == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 10 == 5:
        time.sleep(3600)
    return number


def segfault(number: int) -> int:
    if number == 1:
        ctypes.string_at(0)
    return number


def leave(number: int) -> int:
    if number == 1:
        os._exit(7)
    return number


def exhaust(number: int) -> int:
    return len(bytes(1 << 62)) if number == 1 else number


def die(_: int) -> None:
    os._exit(1)


def hold(folder: Path) -> None:
    """Never end, and never let another thread run."""
    (folder / str(os.getpid())).touch()
    re.match("(a+)+b", "a" * 100)


def enormous(size: int) -> bytes:
    return b"x" * size


@dataclass(frozen=True)
class Job:
    """What to do with a number: come back as Again, take long, kill the worker."""

    number: int
    heavy: bool = False
    seconds: float = 0.0
    waits_for: int = 0
    kills: bool = False
    log: Path | None = None
    tries: int = 0


def work(job: Job) -> tuple[int, int] | Again[Job]:
    if job.heavy and not job.tries:
        return Again(replace(job, tries=1))
    if job.log:
        with job.log.open("a") as log:  # one short line in O_APPEND is written as one
            log.write(f"+{job.number} ")
    time.sleep(job.seconds)
    while job.log and job.waits_for and f"-{job.waits_for} " not in job.log.read_text():
        time.sleep(0.02)
    if job.kills:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.log:
        with job.log.open("a") as log:
            log.write(f"-{job.number} ")
    return job.number, job.tries


def again_and_again(number: int) -> Again[int]:
    return Again(number + 1)


def fail(number: int) -> int:
    if number == 2:
        msg = "the third one is a bug"
        raise LookupError(msg)
    return number


def unpicklable(_: int) -> Any:
    return (n for n in [1])


def stop(_: int) -> None:
    sys.exit("no")


def large(number: int) -> bytes:
    return bytes([number]) * 3_000_000


def large_then_die(number: int) -> bytes:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return bytes([number]) * 100_000


class KillsWhenUnpickled:
    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def ticks(folder: Path) -> dict[int, int]:
    return {int(path.name): len(path.read_text()) for path in folder.iterdir()}


# --- order and laziness -------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_order_is_that_of_the_input(workers: int) -> None:
    batches = [*batched(range(50), 3), [], *batched(range(50, 61), 4)]
    assert list(run(uneven, batches, workers=workers)) == list(range(61))


def test_no_batches_start_no_worker() -> None:
    assert list(run(double, [])) == []
    assert list(run(double, [[], ()])) == []


def test_no_more_workers_than_batches() -> None:
    assert len(set(run(process_id, [[1, 2, 3]], workers=4))) == 1
    assert os.getpid() not in set(run(process_id, [[1]], workers=1))


def test_an_endless_input_is_read_ahead_by_the_window_only() -> None:
    taken = itertools.count()

    def endless() -> Iterator[list[int]]:
        for i in itertools.count():
            next(taken)
            yield [2 * i, 2 * i + 1]

    results = run(double, endless(), window=5)
    assert [next(results) for _ in range(400)] == [2 * i for i in range(400)]
    time.sleep(0.1)
    assert 200 <= next(taken) <= 205
    results.close()


def test_a_slow_item_holds_back_no_more_than_the_window(tmp_path: Path) -> None:
    results = run(
        functools.partial(tick, tmp_path),
        [[5], *([i] for i in range(100, 103))] * 2,
        window=3,
        timeout_s=0.5,
    )
    assert next(results)[1].reason == "timeout"
    assert len(ticks(tmp_path)) <= 3
    results.close()


def test_an_enormous_result() -> None:
    assert [len(r) for r in run(enormous, [[50_000_000], [3]])] == [50_000_000, 3]


def test_large_results() -> None:
    assert [len(r) for r in run(large, [[1, 2], [3, 4]])] == [3_000_000] * 4


def test_a_lambda_and_a_closure_can_be_sent() -> None:
    factor = 3
    assert list(run(lambda n: factor * n, [[1, 2]])) == [3, 6]


def test_in_two_threads_at_once() -> None:
    answers: dict[int, list[int]] = {}

    def work(n: int) -> None:
        answers[n] = list(run(double, batched(range(20 * n), 4)))

    main = sys.modules["__main__"]
    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == {n: [2 * i for i in range(20 * n)] for n in (1, 2, 3)}
    assert sys.modules["__main__"] is main


# --- dead and stuck workers ---------------------------------------------------------------------


def test_a_killed_worker_costs_one_item(tmp_path: Path) -> None:
    batches = [[10, 11, 12], [20, 21, 23, 24, 26], [30, 31, 32]]
    results = list(run(functools.partial(tick, tmp_path), batches))
    detail = "worker killed by signal 9 (SIGKILL), perhaps for lack of memory"
    lost = (23, Lost("crashed", detail))
    assert results == [10, 11, 12, 20, 21, lost, 24, 26, 30, 31, 32]
    assert set(ticks(tmp_path).values()) == {1}
    assert len(ticks(tmp_path)) == 11


def test_several_killers_in_one_batch(tmp_path: Path) -> None:
    batch = [3, 1, 13, 23, 2, 33]
    results = list(run(functools.partial(tick, tmp_path), [batch]))
    assert [r[1].reason if isinstance(r, tuple) else r for r in results] == [
        "crashed", 1, "crashed", "crashed", 2, "crashed",
    ]  # fmt: skip
    assert ticks(tmp_path) == dict.fromkeys(batch, 1)


@pytest.mark.parametrize(
    ("function", "detail"),
    [
        (segfault, "worker killed by signal 11 (SIGSEGV)"),
        (leave, "worker ended with exit code 7"),
        (exhaust, "worker had not enough memory"),
    ],
)
def test_how_a_worker_ended_is_told(function: Callable[[int], int], detail: str) -> None:
    assert list(run(function, [[0, 1, 2]])) == [0, (1, Lost("crashed", detail)), 2]


def test_answers_of_a_dead_worker_are_read_first() -> None:
    results = run(large_then_die, [[0, 1, 2, 3]], workers=1)
    assert next(results)[:1] == b"\0"
    time.sleep(0.5)  # now it is dead, and its second answer lies in the pipe
    assert [r[0] for r in results] == [1, 2, 3]


def test_a_stuck_worker_costs_one_item(tmp_path: Path) -> None:
    began = time.monotonic()
    results = list(
        run(functools.partial(tick, tmp_path), [[1, 2, 5, 6], [7, 8]], timeout_s=0.7, workers=1)
    )
    assert results == [1, 2, (5, Lost("timeout", "no answer within 0.7 s")), 6, 7, 8]
    assert ticks(tmp_path) == dict.fromkeys([1, 2, 5, 6, 7, 8], 1)
    assert time.monotonic() - began < 5


def test_the_timer_runs_for_one_item_not_for_a_batch() -> None:
    batches = [list(range(6)), list(range(6, 12))]
    assert list(run(sleep_a_little, batches, timeout_s=0.5)) == list(range(12))


def test_the_timer_does_not_run_while_the_consumer_is_busy() -> None:
    results = run(sleep_a_little, [list(range(6))], timeout_s=0.5)
    assert next(results) == 0
    time.sleep(0.7)
    assert list(results) == list(range(1, 6))


def sleep_a_little(number: int) -> int:
    time.sleep(0.15 + 0.05 * (number // 6))  # two workers that are not in step
    return number


def test_an_idle_worker_that_dies_costs_nothing() -> None:
    def batches() -> Iterator[list[int]]:
        yield [1]
        for i in range(2, 5):
            for child in multiprocess.active_children():
                child.kill()
                child.join(5)
            yield [i]

    results = run(double, batches(), workers=1, window=1)
    assert list(results) == [2, 4, 6, 8]


def test_a_fork_server_that_dies_costs_nothing() -> None:
    results = run(uneven, batched(range(40), 2))
    assert next(results) == 0
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    assert list(results) == list(range(1, 40))


def test_an_item_that_kills_while_it_is_unpickled_ends_sometime() -> None:
    results = list(run(double, [[KillsWhenUnpickled()], [4]]))
    assert results[0][1] == Lost("crashed", "worker ended with exit code 9")
    assert results[1] == 8


def test_every_item_may_be_lost() -> None:
    results = list(run(die, batched(range(10), 3)))
    assert results == [(n, Lost("crashed", "worker ended with exit code 1")) for n in range(10)]


def test_a_stuck_worker_is_killed_also_without_the_fork_server(tmp_path: Path) -> None:
    """multiprocess takes it for ended: its exit code comes from the fork server."""
    results = run(hold, [[tmp_path]], timeout_s=1.0, workers=1)

    def kill_the_server() -> None:
        assert wait_until(lambda: any(tmp_path.iterdir()), 10)
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)

    thread = threading.Thread(target=kill_the_server)
    thread.start()
    assert next(results)[1] == Lost("timeout", "no answer within 1 s")
    thread.join()
    (pid,) = [int(path.name) for path in tmp_path.iterdir()]
    assert wait_until(lambda: not is_alive(pid), 5)


def test_the_time_limit_may_grow_with_the_item() -> None:
    asked = []

    def limit_s(job: Job) -> float:
        asked.append((job.number, job.tries))
        return 0.3 if job.number == 2 else 20.0

    jobs = [Job(n, seconds=0.6) for n in (1, 2)]
    results = list(run(work, [jobs, [Job(3, heavy=True)]], timeout_s=limit_s, workers=1))
    assert results == [(1, 0), (jobs[1], Lost("timeout", "no answer within 0.3 s")), (3, 1)]
    assert asked == [(1, 0), (2, 0), (3, 0), (3, 1)]  # the newest item, when it begins


@pytest.mark.parametrize("limit_s", [0, -1.0, float("nan")])
def test_a_time_limit_of_an_item_is_checked(limit_s: float) -> None:
    with pytest.raises(ValueError, match=r"timeout_s must be positive, not .* for item 7"):
        list(run(double, [[7]], timeout_s=lambda _: limit_s))


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="needs Linux")
def test_a_worker_goes_first_when_memory_runs_out() -> None:
    assert list(run(oom_score, [[0]])) == [500]


def oom_score(_: int) -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


# --- heavy items --------------------------------------------------------------------------------


def at_once(log: Path, numbers: set[int]) -> int:
    """Return how many of these were worked on at the same time, at most."""
    most, running = 0, set()
    for word in log.read_text().split():
        number = int(word[1:])
        if word[0] == "+":
            running.add(number)
        else:
            running.discard(number)
        most = max(most, len(running & numbers))
    return most


@pytest.mark.parametrize("workers", [1, 3])
def test_heavy_items_go_one_at_a_time(tmp_path: Path, workers: int) -> None:
    log = tmp_path / "log"
    heavy = {0, 1, 4, 9, 10, 11}
    jobs = [Job(n, n in heavy, seconds=0.02 + 0.08 * (n in heavy), log=log) for n in range(24)]
    batches = [jobs[i : i + 3] for i in range(0, 24, 3)]
    assert list(run(work, batches, workers=workers)) == [(n, int(n in heavy)) for n in range(24)]
    assert at_once(log, heavy) == 1


def test_others_go_on_beside_a_heavy_item(tmp_path: Path) -> None:
    jobs = [[Job(n, heavy=n < 2, waits_for=9 * (n == 0), log=tmp_path / "log")] for n in range(10)]
    assert [n for n, _ in run(work, jobs, workers=2)] == list(range(10))


def test_heavy_items_go_before_all_that_was_not_begun(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [Job(n, heavy=n in {0, 1, 5}, log=log) for n in range(8)]
    assert len(list(run(work, [jobs[:3], jobs[3:6], jobs[6:]], workers=1))) == 8
    order = [int(word) for word in log.read_text().split() if word.startswith("+")]
    assert order == [2, 0, 1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("window", [1, 2])
def test_heavy_items_do_not_wait_for_the_window(window: int) -> None:
    jobs = [[Job(n, heavy=n % 3 != 2), Job(n + 100, heavy=True)] for n in range(12)]
    results = list(run(work, jobs, workers=2, window=window))
    assert [n for n, _ in results] == [job.number for batch in jobs for job in batch]


@pytest.mark.parametrize("reason", ["crashed", "timeout"])
def test_a_heavy_item_can_be_lost_and_the_next_one_is_done(reason: str) -> None:
    bad = Job(2, heavy=True, kills=reason == "crashed", seconds=60 * (reason == "timeout"))
    jobs = [[Job(1, heavy=True), bad], [Job(3, heavy=True), Job(4)]]
    results = list(run(work, jobs, timeout_s=2.0))
    assert [results[0], *results[2:]] == [(1, 1), (3, 1), (4, 0)]
    item, lost = results[1]
    assert (item, lost.reason) == (replace(bad, tries=1), reason)


def test_an_idle_worker_that_dies_does_not_take_a_heavy_item_with_it() -> None:
    """It died before it began, so that the item is handed out again and keeps its slot."""

    def batches() -> Iterator[list[Job]]:
        yield [Job(0)]
        for child in multiprocess.active_children():
            child.kill()
            child.join(5)
        yield [Job(1, heavy=True), Job(2, heavy=True)]

    assert list(run(work, batches(), workers=1)) == [(0, 0), (1, 1), (2, 1)]


def test_an_item_that_is_always_heavy_is_a_bug() -> None:
    with pytest.raises(WorkerError, match=r"item 6 is alone and came back as Again"):
        list(run(again_and_again, [[5]]))


def test_a_lost_item_may_be_tried_again_alone() -> None:
    def on_lost(job: Job, lost: Lost) -> Any:
        return (job.number, lost.reason) if job.tries else Again(replace(job, tries=1))

    jobs = [Job(n, kills=n in {1, 2}) for n in range(4)]
    assert list(run(work, [jobs], on_lost=on_lost)) == [
        (0, 0),
        (1, "crashed"),
        (2, "crashed"),
        (3, 0),
    ]
    with pytest.raises(WorkerError, match="came back as Again"):
        list(run(work, [jobs], on_lost=lambda job, _: Again(job)))


# --- an input that is slow ----------------------------------------------------------------------


def test_results_are_taken_up_while_the_input_has_nothing() -> None:
    """The input goes on only when the consumer has seen the results of what it gave before."""
    seen: list[int] = []

    def batches() -> Iterator[list[int]]:
        for n in range(4):
            yield [n]
            while len(seen) <= n:
                yield []
        yield [4]
        yield []

    for result in run(double, batches()):
        seen.append(result)
    assert seen == [0, 2, 4, 6, 8]


def test_an_input_that_has_nothing_is_asked_seldom() -> None:
    asked = itertools.count()

    def batches() -> Iterator[list[int]]:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            next(asked)
            yield []
        yield [1]

    assert list(run(double, batches())) == [2]
    assert 2 <= next(asked) < 100


# --- bugs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "texts"),
    [
        (fail, ["LookupError: the third one is a bug", "in fail", "item 2"]),
        (unpicklable, ["cannot pickle 'generator' object"]),
        (stop, ["SystemExit: no"]),
    ],
)
def test_an_exception_of_the_function_is_a_bug(
    function: Callable[[int], Any], texts: list[str]
) -> None:
    with pytest.raises(WorkerError) as caught:
        list(run(function, [[0, 1], [2, 3]]))
    assert [text for text in texts if text not in str(caught.value)] == []


def test_a_function_that_cannot_be_imported_is_told_with_its_traceback() -> None:
    with pytest.raises(WorkerError, match=r"its start(.|\n)*ModuleNotFoundError"):
        list(run(CannotBeLoaded(), [[0]]))


class CannotBeLoaded:
    def __call__(self, _: int) -> int:
        return 0

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, ("no_such_module",)


class DiesWhenLoaded(CannotBeLoaded):
    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (4,)


def test_workers_that_never_get_ready_are_given_up() -> None:
    with pytest.raises(WorkerError, match=r"3 worker .* exit code 4"):
        list(run(DiesWhenLoaded(), [[0], [1]]))


def test_errors_of_the_input_and_of_on_lost_pass_through(tmp_path: Path) -> None:
    def broken() -> Iterator[list[int]]:
        yield [1]
        raise KeyError

    with pytest.raises(KeyError):
        list(run(double, broken()))
    with pytest.raises(ZeroDivisionError):
        list(run(functools.partial(tick, tmp_path), [[3]], on_lost=lambda *_: 1 // 0))


@pytest.mark.parametrize("option", [{"workers": 0}, {"window": 0}, {"timeout_s": 0.0}])
def test_options_are_checked_at_the_call(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        run(double, [[1]], **option)


# --- nothing is left behind ---------------------------------------------------------------------


def test_closing_ends_all_workers_at_once(tmp_path: Path) -> None:
    results = run(functools.partial(tick, tmp_path), [[0], [5], [15], [25]], workers=3)
    assert next(results) == 0
    pids = [child.pid for child in multiprocess.active_children()]
    assert len(pids) == 3
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 1.5
    assert not any(is_alive(pid) for pid in pids)


HELPER = """
    import os, sys, time
    from pathlib import Path

    def slow(item):
        folder, number = item
        Path(folder, str(os.getpid())).touch()
        time.sleep(number)
        return number
"""

PAUSE = """
    import time
    from pathlib import Path

    if Path({pause!r}).exists():
        Path({pause!r}).unlink()
        time.sleep(0.5)
"""

UNGUARDED = """
    import sys
    sys.path.insert(0, {tests!r})
    from annidx.workers import map_items
    print("body", flush=True)
    {more}
    def run():
        items = [[({pids!r}, s)] for s in {seconds}]
        print(sum(map_items(
            slow, items, workers=2, timeout_s=60, on_lost=lambda i, l: 0, preload=["pause"]
        )))
    {call}
"""


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """A program without a guard, whose workers leave their process ids in tmp_path/pids."""
    (tmp_path / "pids").mkdir()
    (tmp_path / "slowly.py").write_text(textwrap.dedent(HELPER))
    pause = textwrap.dedent(PAUSE).format(pause=str(tmp_path / "pause"))
    (tmp_path / "pause.py").write_text(pause)

    def write(seconds: list[float], call: str = "run()", own: bool = False) -> str:
        more = "from slowly import slow"
        if own:  # the function is one of __main__
            more = textwrap.dedent(HELPER).replace("\n", "\n    ")
        text = UNGUARDED.format(
            tests=str(tmp_path), pids=str(tmp_path / "pids"), seconds=seconds, more=more, call=call
        )
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def start(*arguments: str, path: str = "", **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{path}"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, **options,
    )  # fmt: skip


IN_THREAD = "import threading; t = threading.Thread(target=run); t.start(); t.join()"


@pytest.mark.parametrize("how", ["file", "own function", "-c", "stdin", "thread"])
def test_a_script_without_guard_runs_once(script: Callable[..., str], how: str) -> None:
    call = IN_THREAD if how == "thread" else "run()"
    path = script([0, 0.1, 0.2], call, own=how == "own function")
    text = Path(path).read_text()
    arguments = {"-c": ["-c", text], "stdin": ["-"]}.get(how, [path])
    process = start(*arguments, stdin=subprocess.PIPE)
    out, err = process.communicate(text if how == "stdin" else "", timeout=20)
    assert (out.splitlines(), err, process.returncode) == (["body", "0.30000000000000004"], "", 0)


def pids_in(tmp_path: Path) -> list[int]:
    return [int(path.name) for path in (tmp_path / "pids").iterdir()]


@pytest.mark.parametrize("when", ["starting", "working"])
def test_ctrl_c_ends_everything(script: Callable[..., str], tmp_path: Path, when: str) -> None:
    pause = tmp_path / "pause"
    if when == "starting":
        pause.touch()
    process = start(script([600, 600]), path=str(tmp_path))
    if when == "starting":  # the fork server imports what it preloads
        assert wait_until(lambda: not pause.exists(), 15)
    else:
        assert wait_until(lambda: len(pids_in(tmp_path)) == 2, 15)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=5)
    assert process.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1  # the parent's; workers and fork server say nothing
    assert wait_until(lambda: group_is_empty(process.pid), 5)


def test_workers_end_when_the_parent_is_killed(script: Callable[..., str], tmp_path: Path) -> None:
    process = start(script([600, 600]))
    assert wait_until(lambda: len(pids_in(tmp_path)) == 2, 15)
    assert all(is_alive(pid) for pid in pids_in(tmp_path))
    process.kill()
    process.communicate(timeout=5)
    assert wait_until(lambda: group_is_empty(process.pid), 5)


def test_stuck_workers_end_when_the_parent_is_killed(
    script: Callable[..., str], tmp_path: Path
) -> None:
    """A thread of theirs cannot end them: whoever holds the GIL lets no other thread run."""
    (tmp_path / "pause.py").write_text("")
    text = Path(script([0, 0])).read_text().replace("slow, items", "slow_for_ever, items")
    more = """
import re
def slow_for_ever(item):
    slow(item)
    re.match("(a+)+b", "a" * 100)
"""
    (tmp_path / "slowly.py").write_text(textwrap.dedent(HELPER) + more)
    path = tmp_path / "script.py"
    path.write_text(text.replace("import slow", "import slow, slow_for_ever"))
    process = start(str(path))
    assert wait_until(lambda: len(pids_in(tmp_path)) == 2, 15)
    time.sleep(0.3)
    process.kill()
    process.communicate(timeout=5)
    assert wait_until(lambda: group_is_empty(process.pid), 5)


def group_is_empty(group: int) -> bool:
    """Tell whether no process of a group runs: workers, fork server, resource tracker."""
    answer = subprocess.run(
        ["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in answer.stdout.splitlines()]
    return not any(int(pgid) == group and not stat.startswith("Z") for pgid, stat in rows)


# --- the rest -----------------------------------------------------------------------------------


def test_importing_is_cheap() -> None:
    code = "import sys, annidx.workers; print('multiprocess' in sys.modules, 'dill' in sys.modules)"
    out, _ = start("-c", code).communicate(timeout=20)
    assert out.split() == ["False", "False"]


def test_warming_up_starts_the_fork_server_and_does_not_wait(tmp_path: Path) -> None:
    marker = tmp_path / "loaded"
    lines = ["import time", "time.sleep(1)", f"open({str(marker)!r}, 'a').write('x')"]
    (tmp_path / "preloaded.py").write_text("\n".join(lines))
    code = f"""
import sys, time
from pathlib import Path
from annidx.workers import map_items, warm_up
main, marker = sys.modules["__main__"], Path({str(marker)!r})
warm_up(["preloaded"])
warm_up(["preloaded"])
print(marker.exists(), sys.modules["__main__"] is main)
while not marker.exists():
    time.sleep(0.05)
results = map_items(lambda n: "preloaded" in sys.modules, [[1]], workers=1, timeout_s=20,
                    on_lost=lambda *both: both, preload=["preloaded"])
print(*results, marker.read_text())
"""
    process = start("-c", code, path=str(tmp_path))
    out, err = process.communicate(timeout=20)
    assert (out.splitlines(), err) == (["False True", "True x"], "")
    assert wait_until(lambda: group_is_empty(process.pid), 5)


def test_a_process_that_only_warmed_up_leaves_nothing(tmp_path: Path) -> None:
    process = start("-c", "from annidx.workers import warm_up; warm_up(['json'])")
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("", "", 0)
    assert wait_until(lambda: group_is_empty(process.pid), 5)


def test_worker_count() -> None:
    assert worker_count(3) == 3
    assert worker_count(0) == 1
    assert worker_count(None) >= 1
    if hasattr(os, "sched_getaffinity"):
        assert worker_count(None) == len(os.sched_getaffinity(0))
