"""``annidx schedule``: a build every night, as a line for cron or as units for systemd."""

from __future__ import annotations

import argparse
import os
import pwd
import re
import sys
from pathlib import Path
from typing import Any

from annidx.commands.build import add_nightly_options
from annidx.commands.common import index_path, print_json, print_summary
from annidx.commands.units import Job, crontab_line, service_unit, timer_unit
from annidx.errors import IndexNotFound, UsageError
from annidx.fields import path_fields

HELP = "print a crontab line or systemd units for a build every night"
DESCRIPTION = """\
Print what runs "annidx build --quiet" every night: a line for a crontab, or a service and a timer
for systemd, each headed by its file name and the commands that install it. Nothing is installed.
The build stands back behind everything else on the machine, says nothing unless something is wrong,
and waits for another build to end. With --fail-on new (the default here) it fails, once, when
pictures could not be read that were no failures before."""
EPILOG = """\
The service sees the whole file system read-only but for the index and the folder of the metrics.
Print it anew when roots, the index or the place of annidx have changed.

examples:
  annidx schedule --print cron --at 04:15
  annidx schedule --print systemd --metrics-file /var/lib/node-exporter/annidx.prom
  cd ~/.config/systemd/user && annidx schedule --print systemd |
    awk '/^# annidx.*[.](service|timer)$/ {file = $2} {print > file}'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument(
        "--print", dest="form", choices=("cron", "systemd"), required=True, help="what to print"
    )
    parser.add_argument(
        "--at",
        type=_time,
        default=(3, 30),
        metavar="HH:MM",
        help="local time, 00:00 to 23:59 (default 03:30); systemd adds up to ten minutes",
    )
    parser.add_argument(
        "--system",
        action="store_true",
        help="units for the system's manager, run as the owner of the index, not for your own",
    )
    add_nightly_options(parser, fail_on="new", lock_wait_s=3600.0)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.system and args.form != "systemd":
        message = "--system says where units of systemd go: it needs --print systemd"
        raise UsageError(message)
    job = _job(args)
    if args.form == "cron":
        units = {"crontab": crontab_line(job)}
    else:
        user = _owner(Path(job.index)) if args.system else None
        units = {
            f"{job.name}.service": service_unit(job, user),
            f"{job.name}.timer": timer_unit(job, user),
        }
    if args.json:
        for name, text in units.items():
            print_json({"name": name, **path_fields("text", os.fsencode(text))})
    else:
        # As bytes: a path that is not UTF-8, or not in the terminal's encoding, must stay itself.
        sys.stdout.buffer.write(os.fsencode("\n".join(units.values())))
    fields: dict[str, Any] = {"print": args.form, "units": len(units), "roots": len(job.roots)}
    print_summary(args, fields, "")  # a sentence would stand in the crontab
    return 0


def _job(args: argparse.Namespace) -> Job:
    index = _absolute(index_path(args))
    wait = f"{args.lock_wait:.15g}"
    arguments = ["build", "--quiet", "--fail-on", args.fail_on, "--lock-wait", wait]
    metrics_file = None
    if args.metrics_file is not None:
        if not args.metrics_file:
            message = "--metrics-file is empty: name a file"
            raise UsageError(message)
        metrics_file = str(Path(args.metrics_file).expanduser().resolve())  # as build does
        arguments += ["--metrics-file", metrics_file]
    arguments += ["--index", index]
    return Job(_program(), arguments, index, metrics_file, _roots(Path(index)), *args.at)


def _program() -> list[str]:
    """Return the command annidx by its absolute path, else this Python and the module."""
    for path in (Path(sys.argv[0]), Path(sys.executable).with_name("annidx")):
        if path.name == "annidx" and path.is_file() and os.access(path, os.X_OK):
            return [_absolute(path)]
    return [sys.executable, "-m", "annidx"]


def _roots(index: Path) -> list[str]:
    """Return the roots of an index, none when nothing was built there yet."""
    from annidx.store import snapshot  # noqa: PLC0415 - heavy from here on

    try:
        manifest = snapshot.current_manifest(index)
    except IndexNotFound:
        return []
    return [os.fsdecode(root.path) for root in manifest.roots] if manifest else []


def _owner(index: Path) -> str:
    """Return who owns an index: nobody else can read it."""
    uid = index.stat().st_uid if index.exists() else os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute() leaves "..", systemd refuses it


def _time(text: str) -> tuple[int, int]:
    """Read HH:MM."""
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if found is None:
        message = f"{text}: expected a time such as 03:30, from 00:00 to 23:59"
        raise argparse.ArgumentTypeError(message)
    return int(found[1]), int(found[2])
