"""A service under load: clients that ask by number, and snapshots that are published meanwhile.

Serves an index in a process of its own and measures over loopback: one client alone, then many at
once, then many while snapshots are published. The generator speaks HTTP over plain sockets, so that
it takes little of the machine that it shares with the service; its CPU time is stated. Clients that
are told to come back (503) wait as long as they are told.

    python -m scripts.load_service INDEX [--metric thumb] [--clients 32] [--seconds 60]
        [--reloads 20]

With --reloads the index gets new snapshots: give it a copy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import annidx
from annidx.store import files, snapshot

RETRY_S = 1.0


@dataclass(slots=True)
class Told:
    """What clients have heard.

    Attributes
    ----------
    statuses : Counter of int
    seconds : list of float
        Of each answer 200.
    snapshots : set of int
        That answered.
    mixed : int
        Answers that name more than one snapshot.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    snapshots: set[int] = field(default_factory=set)
    mixed: int = 0

    def quantile(self, share: float) -> float:
        """Return a quantile of the times, milliseconds."""
        times = sorted(self.seconds)
        return 1e3 * times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


@dataclass(frozen=True, slots=True)
class Asking:
    """What clients ask.

    Attributes
    ----------
    port : int
    numbers : Sequence of int
        Of pictures.
    metric : str
    batch : int
        Pictures a request.
    """

    port: int
    numbers: Sequence[int]
    metric: str
    batch: int = 1

    def request(self, rng: random.Random) -> bytes:
        """Return a request about pictures that are drawn."""
        drawn = rng.choices(self.numbers, k=self.batch)
        asked = {"id": drawn[0]} if self.batch == 1 else {"ids": drawn}
        body = json.dumps({**asked, "metric": self.metric, "k": 10}).encode()
        path = "/v1/query" if self.batch == 1 else "/v1/query/batch"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def client(asking: Asking, seed: int, until: float, told: Told) -> None:
    """Ask until a moment, one request after the other over one connection."""
    rng = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", asking.port)
    while time.monotonic() < until:
        began = time.perf_counter()
        writer.write(asking.request(rng))
        status, body = await answer(reader)
        told.statuses[status] += 1
        if status == 200:
            told.seconds.append(time.perf_counter() - began)
            book(told, body)
        else:
            await asyncio.sleep(RETRY_S)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one answer: its status and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return int(head[9:12]), await reader.readexactly(int(length))


def book(told: Told, body: bytes) -> None:
    """Note which snapshots an answer names."""
    named = {int(part.partition(b",")[0]) for part in body.split(b'"snapshot": ')[1:]}
    told.snapshots |= named
    told.mixed += len(named) != 1


async def load(asking: Asking, clients: int, seconds: float) -> Told:
    """Return what so many clients hear in so many seconds."""
    told, until = Told(), time.monotonic() + seconds
    await asyncio.gather(*(client(asking, seed, until, told) for seed in range(clients)))
    return told


def publish_again(index: Path) -> int:
    """Publish the current snapshot under the next number; return that."""
    manifest = snapshot.current_manifest(index)
    if manifest is None:
        message = f"{index}: there is no snapshot"
        raise SystemExit(message)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    with files.writer_lock(index, 10.0):
        return snapshot.publish(index, replace(manifest, created=created)).number


async def load_and_reload(asking: Asking, clients: int, index: Path, reloads: int) -> Told:
    """Return what clients hear while snapshots are published one after the other."""
    told, until = Told(), time.monotonic() + 3.0 * reloads
    asked = [asyncio.ensure_future(client(asking, seed, until, told)) for seed in range(clients)]
    for _ in range(reloads):
        number = await asyncio.to_thread(publish_again, index)
        while number not in told.snapshots and time.monotonic() < until:
            await asyncio.sleep(0.05)
    for each in asked:
        await each
    return told


@contextlib.contextmanager
def serving(index: Path, words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Run a service; give its port and its process."""
    command = [sys.executable, "-m", "annidx", "serve", "--index", str(index)]
    command += ["--port", "0", "--json", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        if running.stdout is None:
            message = "the service has no stdout"
            raise SystemExit(message)
        where = json.loads(running.stdout.readline())["address"]
        try:
            yield int(where.rpartition(":")[2]), running.pid
        finally:
            running.terminate()


async def ready(port: int) -> None:
    """Wait until the service has loaded its index."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        status, _ = await answer(reader)
        writer.close()
        if status == 200:
            return
        await asyncio.sleep(0.2)


def memory_mb(pid: int) -> float:
    """Return what a process holds of its own, without the files that it has mapped."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("RssAnon:"))
    return int(kilobytes) / 1e3


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def report(name: str, told: Told, seconds: float, pid: int, spent: tuple[float, float]) -> None:
    """Print what a phase has come to."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    own = usage.ru_utime + usage.ru_stime - spent[1]
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(told.statuses.items()))
    print(
        f"{name}: {told.statuses[200] / seconds:,.0f} answers/s; p50 {told.quantile(0.5):.1f} ms, "
        f"p99 {told.quantile(0.99):.1f} ms; {statuses}; service {cpu_s(pid) - spent[0]:.1f} CPU s "
        f"and {memory_mb(pid):.0f} MB, generator {own:.1f} CPU s",
        flush=True,
    )


def spent(pid: int) -> tuple[float, float]:
    """Return the CPU time of the service and of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return cpu_s(pid), usage.ru_utime + usage.ru_stime


async def measure(args: argparse.Namespace, port: int, pid: int) -> bool:
    """Run all phases; tell whether all held that must hold."""
    await ready(port)
    numbers = annidx.open(args.index).picture_ids().tolist()
    asking = Asking(port, numbers, args.metric)
    await load(asking, 1, 2.0)  # warm
    before = spent(pid)
    alone = await load(asking, 1, args.alone)
    report("one client", alone, args.alone, pid, before)
    before = spent(pid)
    many = await load(asking, args.clients, args.seconds)
    report(f"{args.clients} clients", many, args.seconds, pid, before)
    ratio = many.quantile(0.99) / alone.quantile(0.99)
    print(f"p99 of admitted queries under load: {ratio:.1f} times that of one client")
    good = set(many.statuses) <= {200, 503}
    if args.reloads:
        several = replace(asking, batch=3)
        before, began = spent(pid), time.monotonic()
        told = await load_and_reload(several, args.clients, args.index, args.reloads)
        report(f"{args.reloads} reloads", told, time.monotonic() - began, pid, before)
        await asyncio.sleep(3.0)
        print(
            f"{len(told.snapshots)} snapshots answered, {told.mixed} answers mixed two; "
            f"afterwards {memory_mb(pid):.0f} MB"
        )
        good &= set(told.statuses) <= {200, 503} and told.mixed == 0
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 when a request failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--metric", default="thumb")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--alone", type=float, default=10.0, help="seconds of one client")
    parser.add_argument("--reloads", type=int, default=0)
    parser.add_argument("words", nargs="*", help="options of annidx serve, behind --")
    args = parser.parse_args(arguments)
    with serving(args.index, args.words) as (port, pid):
        good = asyncio.run(measure(args, port, pid))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
