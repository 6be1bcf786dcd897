"""A command at night as a line for cron and as units for systemd: text and quoting, no more."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annidx.errors import UsageError
from annidx.showing import shown

_PLAIN = re.compile(
    r"[A-Za-z0-9_@%+=:,./-]+"
)  # what neither a shell nor systemd reads a meaning in


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run every night.

    Attributes
    ----------
    program, arguments : Sequence of str
        The command, its program by an absolute path. Here and below, bytes that are not UTF-8 are
        lone surrogates (``os.fsdecode``).
    index : str
        Absolute path of the index, which it writes.
    metrics_file : str or None
        Absolute path of the other file that it writes.
    roots : Sequence of str
        Absolute paths of the folders that it reads; none when they are not known yet.
    hour, minute : int
        Local time.
    """

    program: Sequence[str]
    arguments: Sequence[str]
    index: str
    metrics_file: str | None
    roots: Sequence[str]
    hour: int
    minute: int

    @property
    def name(self) -> str:
        """A name for units: another one for each index."""
        path = Path(self.index)
        if path.parts[-2:] == ("annidx", "default"):
            return "annidx"
        digest = hashlib.sha256(os.fsencode(self.index)).hexdigest()
        readable = re.sub(r"[^A-Za-z0-9]+", "-", path.name).strip("-")[:40] or "index"
        return f"annidx-{readable}-{digest[:6]}"


# cron


def crontab_line(job: Job) -> str:
    """Return a line for a crontab, with comments above it.

    Raises
    ------
    UsageError
        When a path holds what a crontab cannot.
    """
    idle = ["nice", "-n", "19"]
    if sys.platform == "linux":
        idle += ["ionice", "-c", "3"]
    words = [_cron_word(word) for word in (*idle, *job.program, *job.arguments)]
    lines = [
        f"# {_what(job)}, at {job.hour:02}:{job.minute:02}. Add it with: crontab -e",
        "# cron mails what it prints: nothing, unless something is wrong.",
        *_without_roots(job),
        f"{job.minute} {job.hour} * * * {' '.join(words)}",
    ]
    return "\n".join(lines) + "\n"


def _cron_word(word: str) -> str:
    """Quote for the shell that cron starts, and for cron itself.

    To cron a percent sign ends the command unless a backslash stands before it. Some crons take
    that backslash away and others leave it to the shell: both give the same outside of quotes.
    """
    if re.search(r"[\x00-\x1f\x7f\\]", word):
        message = (
            f"{shown(word)}: crons differ in what they make of backslashes and control "
            "characters in a path: use --print systemd, or another path"
        )
        raise UsageError(message)
    return r"\%".join(shlex.quote(part) if part else "" for part in word.split("%"))


# systemd


def service_unit(job: Job, user: str | None) -> str:
    """Return the unit that runs the job; of the user's own manager, or (`user`) of the system's."""
    words = [_exec_word(word) for word in job.arguments]
    program = [_exec_word(job.program[0], program=True), *map(_exec_word, job.program[1:])]
    lines = [
        *_header(f"{job.name}.service", job, user),
        *_without_roots(job),
        "[Unit]",
        f"Description={_escaped(_what(job))}",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={' '.join([*program, *words])}",
        "# 3: done, but some pictures could not be read; with --fail-on new they are old news.",
        "SuccessExitStatus=3",
        *([f"User={user}"] if user else []),
        "Nice=19",
        "CPUSchedulingPolicy=batch",
        "IOSchedulingClass=idle",
        "NoNewPrivileges=true",
        *_sandbox(job, user),
    ]
    return "\n".join(lines) + "\n"


def timer_unit(job: Job, user: str | None) -> str:
    """Return the unit that starts the service every night, or as soon as the machine is on."""
    lines = [
        *_header(f"{job.name}.timer", job, user),
        "[Unit]",
        f"Description={_escaped(_what(job))} every night",
        "",
        "[Timer]",
        f"OnCalendar=*-*-* {job.hour:02}:{job.minute:02}:00",
        "RandomizedDelaySec=10min",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"


def _sandbox(job: Job, user: str | None) -> list[str]:
    """Return what the service may see and write; roots that are away now are no error."""
    writes = [job.index]
    if job.metrics_file is not None:
        writes.append(str(Path(job.metrics_file).parent))
    if not all(_can_be_listed(path) for path in writes):
        return ["# Not shut off from other files: systemd can list no path that is not UTF-8."]
    reads = [path for path in job.roots if path not in writes]
    lines = [] if user else ["# A user's manager enforces what follows from systemd 254 on."]
    lines += ["ProtectSystem=strict", "ProtectHome=read-only"]
    lines += [f"ReadWritePaths={_path_word(path)}" for path in writes]
    lines += [f"ReadOnlyPaths={_path_word(path)}" for path in reads if _can_be_listed(path)]
    left_out = [path for path in reads if not _can_be_listed(path)]
    lines += [f"# Read-only like all else, but not to be listed: {shown(p)}" for p in left_out]
    return [
        *lines,
        "# A place for checked hashes, and one for sockets: /tmp is read-only here, not hidden,",
        "# since pictures may lie there.",
        "CacheDirectory=annidx",
        "CacheDirectoryMode=0700",
        f"RuntimeDirectory={job.name}",
        "RuntimeDirectoryMode=0700",
        f"Environment=XDG_CACHE_HOME=%C TMPDIR=%t/{job.name}",
    ]


def _header(file: str, job: Job, user: str | None) -> list[str]:
    folder = "/etc/systemd/system" if user else "~/.config/systemd/user"
    systemctl = "systemctl" if user else "systemctl --user"
    lines = [
        f"# {file}",
        f"# Save it as {folder}/{file}; with both units there:",
        f"#   {systemctl} daemon-reload",
        f"#   {systemctl} enable --now {job.name}.timer",
    ]
    if not user:
        lines.append("# (and once, for nights when you are not logged in: loginctl enable-linger)")
    return lines


def _exec_word(word: str, *, program: bool = False) -> str:
    """Quote a word of ExecStart=: specifiers, variables (not in the program), C escapes."""
    word = word.replace("%", "%%")
    if not program:
        word = word.replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    raw = word.replace("\\", r"\\").replace('"', r"\"")
    # Control characters and bytes that are not UTF-8, which a unit file must not hold as such.
    return '"' + re.sub(r"[\x00-\x1f\x7f\udc80-\udcff]", _hex_escape, raw) + '"'


def _hex_escape(found: re.Match[str]) -> str:
    return f"\\x{os.fsencode(found[0])[0]:02x}"


def _path_word(path: str) -> str:
    """Quote a path of a list: specifiers, but no C escapes; a minus: it may be missing."""
    word = path.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return f"-{word}"
    return '"-' + word.replace("\\", r"\\").replace('"', r"\"") + '"'


def _can_be_listed(path: str) -> bool:
    return not re.search(r"[\x00-\x1f\x7f\udc80-\udcff]", path)


def _what(job: Job) -> str:
    return f"annidx: bring {shown(job.index)} up to date"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _without_roots(job: Job) -> list[str]:
    return [] if job.roots else ['# It has no roots yet: run "annidx build FOLDER" once, first.']
