"""A service under load: clients that ask by number, and snapshots that are published meanwhile.

Serves an index in a process of its own and measures over loopback: one client alone, then many at
once, then many while snapshots are published. The generator speaks HTTP over plain sockets, so that
it takes little of the machine that it shares with the service; its CPU time is stated. Clients that
are told to come back (503) wait as long as they are told.

    python -m scripts.load_service [--metric thumb] [--clients 32] [--seconds 60] [--reloads 20]
        INDEX [-- OPTIONS OF ANNIDX SERVE]

Prints a table and the same as JSON; ends with 1 when a request failed. With --reloads the index
gets new snapshots: give it a copy.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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


COLUMNS = {
    "phase": "",
    "answers_per_s": "answers/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "refused": "503",
    "failed": "other",
    "service_cpu_s": "service CPU s",
    "cpu_ms_per_answer": "CPU ms an answer",
    "generator_cpu_s": "generator CPU s",
    "memory_mb": "MB",
}


def figures(
    name: str, told: Told, seconds: float, pid: int, before: tuple[float, float]
) -> dict[str, Any]:
    """Return what a phase has come to; `before` is what was spent when it began."""
    service, own = (after - was for after, was in zip(spent(pid), before, strict=True))
    count = told.statuses[200]
    return {
        "phase": name,
        "seconds": round(seconds, 1),
        "answers_per_s": round(count / seconds),
        "p50_ms": round(told.quantile(0.5), 1),
        "p99_ms": round(told.quantile(0.99), 1),
        "refused": told.statuses[503],
        "failed": told.statuses.total() - count - told.statuses[503],
        "service_cpu_s": round(service, 1),
        "cpu_ms_per_answer": round(1e3 * service / max(count, 1), 2),
        "generator_cpu_s": round(own, 1),
        "memory_mb": round(memory_mb(pid)),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return figures as a table in Markdown."""
    lines = [list(COLUMNS.values()), ["---"] * len(COLUMNS)]
    lines += [[str(row[name]) for name in COLUMNS] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spent(pid: int) -> tuple[float, float]:
    """Return the CPU time of the service and of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return cpu_s(pid), usage.ru_utime + usage.ru_stime


async def measure(args: argparse.Namespace, port: int, pid: int) -> dict[str, Any]:
    """Run all phases; return their figures."""
    await ready(port)
    index = annidx.open(args.index)
    asking = Asking(port, index.picture_ids().tolist(), args.metric)
    await load(asking, 1, 2.0)  # warm
    rows = []
    for name, clients, seconds in (
        ("one client", 1, args.alone),
        (f"{args.clients} clients", args.clients, args.seconds),
    ):
        before = spent(pid)
        rows.append(figures(name, await load(asking, clients, seconds), seconds, pid, before))
    found: dict[str, Any] = {
        "metric": args.metric,
        "pictures": len(index),
        "recall": {graph.metric: graph.recall for graph in index.manifest.graphs},
        "p99_ratio": round(rows[1]["p99_ms"] / rows[0]["p99_ms"], 1),
        "phases": rows,
        "mixed": 0,
    }
    if args.reloads:
        before, began = spent(pid), time.monotonic()
        several = replace(asking, batch=3)
        told = await load_and_reload(several, args.clients, args.index, args.reloads)
        seconds = time.monotonic() - began
        rows.append(figures(f"{args.reloads} reloads", told, seconds, pid, before))
        await asyncio.sleep(3.0)
        after = {"snapshots": len(told.snapshots), "memory_after_mb": round(memory_mb(pid))}
        found |= {"mixed": told.mixed, **after}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 1 when a request failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--metric", default="thumb")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--alone", type=float, default=10.0, help="seconds of one client")
    parser.add_argument("--reloads", type=int, default=0)
    parser.add_argument("words", nargs="*", help="options of annidx serve: INDEX -- OPTIONS")
    args = parser.parse_args(arguments)
    with serving(args.index, args.words) as (port, pid):
        found = asyncio.run(measure(args, port, pid))
    print(table(found["phases"]))
    print(json.dumps(found))
    failed = any(row["failed"] for row in found["phases"])
    return 1 if failed or found["mixed"] else 0


if __name__ == "__main__":
    sys.exit(main())
