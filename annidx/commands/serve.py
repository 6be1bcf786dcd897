"""``annidx serve``: the HTTP service."""

from __future__ import annotations

import argparse
import math
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from annidx.commands.common import (
    byte_count,
    index_path,
    natural,
    print_json,
    print_summary,
    seconds,
    whole_number,
)
from annidx.errors import UsageError
from annidx.showing import plural

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fastapi import FastAPI

    from annidx.service.holder import Holder
    from annidx.service.settings import Settings

HELP = "answer queries over HTTP"
DESCRIPTION = """\
Answer over HTTP whether a picture has near-duplicates in the index, on 127.0.0.1 or a Unix socket
unless there is a token. New snapshots are picked up as they are published. Ctrl-C or SIGTERM ends
it. docs/service.md has examples, a systemd unit and a reverse proxy."""
EPILOG = """\
examples:
  annidx serve
  annidx serve --socket /run/user/1000/annidx.sock --max-age 172800
  annidx serve --name shop=/srv/shop.annidx --name stock=/srv/stock.annidx --port 8080
  annidx serve --reject 1e-8 --review 0.01                  # chances of a false match
  annidx serve --metric thumb --reject 60 --review 300      # distances
  annidx serve --host 0.0.0.0 --token-file /etc/annidx.token --allow-host pictures.example"""

INTERRUPTED = 130
_DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    where = parser.add_argument_group("where it listens")
    where.add_argument(
        "--host", default="127.0.0.1", metavar="ADDR", help="address (default 127.0.0.1)"
    )
    where.add_argument(
        "--port", type=port_number, default=8000, metavar="N", help="default 8000; 0: any free one"
    )
    where.add_argument(
        "--socket", metavar="PATH", help="a Unix socket instead, for its owner and group"
    )
    who = parser.add_argument_group("who may ask")
    who.add_argument(
        "--token-file",
        metavar="FILE",
        help="clients must send the word in FILE: Authorization: Bearer WORD; without it, no other "
        "--host than this machine's own is taken",
    )
    who.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that clients may call it by, such as that of a reverse proxy; several times",
    )
    what = parser.add_argument_group("what it serves")
    what.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="an index under a name, for requests with ?index=NAME; several times. The first is "
        "the one of requests without; if there is an --index, that is, and is called default",
    )
    what.add_argument(
        "--max-age",
        type=seconds,
        metavar="S",
        help="/readyz says 503 when no build has gone through for more than S seconds; one that "
        "finds no change counts, one that could not look at a root does not",
    )
    what.add_argument(
        "--metric",
        metavar="NAME",
        help="what verdicts go by, and --reject and --review mean (default: that of searches)",
    )
    what.add_argument(
        "--reject",
        type=_threshold,
        metavar="X",
        help="a picture's verdict is 'reject' when its nearest match is within X, inclusive: a "
        "chance by fingerprint, else a distance (default: as --match strict)",
    )
    what.add_argument(
        "--review",
        type=_threshold,
        metavar="X",
        help="likewise 'review'; beyond, it is 'accept' (default: as --match normal)",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-upload",
        type=byte_count,
        default=50_000_000,
        metavar="SIZE",
        help="a request's body at most (default 50M)",
    )
    limits.add_argument(
        "--max-megapixels",
        type=natural,
        default=100,
        metavar="N",
        help="a picture that is sent at most (default 100)",
    )
    limits.add_argument(
        "--workers",
        type=natural,
        metavar="N",
        help="requests that are worked on at a time (default: one for each CPU but one)",
    )
    limits.add_argument(
        "--waiting",
        type=whole_number,
        default=4,
        metavar="N",
        help="so many more may wait; beyond, they are told to come back: 503 (default 4)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from annidx.service.application import application  # noqa: PLC0415 - heavy from here on
    from annidx.service.holder import Holder  # noqa: PLC0415
    from annidx.service.server import address, listening  # noqa: PLC0415
    from annidx.service.settings import Settings, read_token  # noqa: PLC0415

    began = time.monotonic()
    token = "" if args.token_file is None else read_token(Path(args.token_file))
    settings = Settings(
        host=args.host,
        port=args.port,
        socket=None if args.socket is None else Path(args.socket).absolute(),
        token=token,
        allowed_hosts=args.allow_host,
        max_age_s=args.max_age,
        max_upload=args.max_upload,
        max_pixels=args.max_megapixels * 1_000_000,
        workers=args.workers or 0,
        waiting=args.waiting,
        judge_by=args.metric,
        reject=args.reject,
        review=args.review,
    )
    holder = Holder(places(args))
    holder.check()
    _check_thresholds(holder, settings)
    app = application(holder, settings)
    bound = listening(settings)
    where = address(settings, bound)
    was_interrupted = run_until_ended(app, settings, bound, lambda: _say_where(args, where))
    if settings.socket is not None:
        settings.socket.unlink(missing_ok=True)
    requests = app.state.service.measures.requests
    fields = {"requests": requests, "seconds": round(time.monotonic() - began, 1)}
    print_summary(args, fields, f"{plural(requests, 'request')} answered")
    return INTERRUPTED if was_interrupted else 0


def run_until_ended(
    app: FastAPI, settings: Settings, bound: socket.socket, say: Callable[[], None]
) -> bool:
    """Say that it listens, serve until SIGTERM or SIGINT; tell whether it was the latter."""
    from annidx.service.server import server  # noqa: PLC0415 - heavy

    served = server(app, settings)
    heard: list[int] = []

    def end(number: int, _: object) -> None:
        heard.append(number)
        served.should_exit = True

    # uvicorn has handlers of its own while it serves, and then raises what they heard once more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    say()
    served.run(sockets=[bound])
    return signal.SIGINT in heard


def _say_where(args: argparse.Namespace, where: str) -> None:
    if args.json:
        print_json({"message_type": "listening", "address": where})
    elif not args.quiet:
        print(f"listening on {where}")
    sys.stdout.flush()  # whoever started it waits for this line


def places(args: argparse.Namespace) -> dict[str, Path]:
    """Return the directories that are to be served, by name.

    Raises
    ------
    UsageError
        For a name that is none, or comes twice.
    """
    named: dict[str, Path] = {}
    if args.index is not None or not args.name:
        named[_DEFAULT] = index_path(args)
    for text in args.name:
        name, _, place = text.partition("=")
        if not _NAME.fullmatch(name) or not place:
            message = f"--name {text}: expected NAME=DIR, a NAME of letters, digits and ._-"
            raise UsageError(message)
        if name in named:
            message = f"--name {text}: there is another index of that name"
            raise UsageError(message)
        named[name] = Path(place).expanduser()
    return named


def _check_thresholds(holder: Holder, settings: Settings) -> None:
    """Refuse thresholds at once that a verdict would be refused for.

    Raises
    ------
    UsageError
    """
    from annidx.descriptors import default_metric  # noqa: PLC0415
    from annidx.store import snapshot  # noqa: PLC0415
    from annidx.thresholds import limits  # noqa: PLC0415

    for held in holder.held.values():
        manifest = snapshot.current_manifest(held.place)
        names = {} if manifest is None else manifest.descriptors
        limits(settings.judge_by or default_metric(names), settings.reject, settings.review)
        if settings.judge_by is not None and settings.judge_by not in names:
            have = ", ".join(names)
            message = f"--metric {settings.judge_by}: index {held.name} holds {have}"
            raise UsageError(message)


def _threshold(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        message = f"{text}: expected a number of 0 or more"
        raise argparse.ArgumentTypeError(message)
    return value


def port_number(text: str) -> int:
    """Read a port, 0 to 65535."""
    value = whole_number(text)
    if value > 65535:
        message = f"{text}: expected a port, 0 to 65535"
        raise argparse.ArgumentTypeError(message)
    return value
