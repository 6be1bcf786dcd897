"""What a service is told when it starts: where it listens, who may ask, what a request may cost."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annidx.errors import AnnidxError, UsageError
from annidx.native import processors

LEAST_TOKEN = 16
"""Characters; `openssl rand -hex 32` makes 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a service keeps to.

    Attributes
    ----------
    host : str
        Address that it listens on.
    port : int
        0 for any free one.
    socket : Path, optional
        Unix socket that it listens on instead.
    token : str
        What a client must show; empty: nothing.
    allowed_hosts : sequence of str
        Names that clients may call it by (the Host header) besides those of its address.
    max_age_s : float, optional
        /readyz says 503 when the last complete walk of the archive is longer ago.
    max_upload : int
        Bytes of a request's body, inclusive.
    max_pixels : int
        Of a picture that is sent, inclusive.
    decode_bytes, decode_s : int, float
        Memory and seconds that decoding one picture may take.
    body_s : float
        Seconds within which a request's body must have come.
    workers, waiting : int
        Requests that are worked on at a time, and that may wait for that; more get 503.
    poll_s : float
        How often to look for new snapshots, seconds.
    max_pairs : int
        A search of more pairs is refused.
    judge_by : str, optional
        The metric of verdicts; by default that of searches.
    reject, review : float, optional
        What is rejected and what is to be reviewed; see :mod:`annidx.thresholds`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    socket: Path | None = None
    token: str = ""
    allowed_hosts: Sequence[str] = ()
    max_age_s: float | None = None
    max_upload: int = 50_000_000
    max_pixels: int = 100_000_000
    decode_bytes: int = 700_000_000
    decode_s: float = 20.0
    body_s: float = 30.0
    workers: int = 0
    waiting: int = 4
    poll_s: float = 0.5
    max_pairs: int = 1_000_000
    judge_by: str | None = None
    reject: float | None = None
    review: float | None = None

    def __post_init__(self) -> None:
        """Refuse to be open to others without a token."""
        if self.workers == 0:
            # The loop that reads and writes shares Python with them: with one less an
            # answer by number takes 1.7 ms of CPU, not 2.8, for 32 clients of 2 CPUs.
            object.__setattr__(self, "workers", max(1, processors() - 1))
        if self.token and len(self.token) < LEAST_TOKEN:
            message = f"the token has {len(self.token)} characters, expected {LEAST_TOKEN} or more"
            raise UsageError(message)
        if not (self.token or self.socket or is_loopback(self.host)):
            message = (
                f"--host {self.host} would let others on the network in: give a --token-file, "
                "or listen on 127.0.0.1 or on a --socket"
            )
            raise UsageError(message)


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: Path) -> str:
    """Return the token in a file, without the white space around it.

    Raises
    ------
    AnnidxError
        When it cannot be read, or every user of the machine can read it.
    UsageError
        When it is empty, or holds more than one word.
    """
    try:
        if path.stat().st_mode & stat.S_IROTH:
            message = f"--token-file {path}: any user can read it: chmod 600 {path}"
            raise AnnidxError(message)
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        message = f"--token-file {path}: {error.strerror}"
        raise AnnidxError(message) from None
    except UnicodeDecodeError:
        message = f"--token-file {path}: expected ASCII, such as openssl rand -hex 32 prints"
        raise UsageError(message) from None
    if len(text.split()) != 1:
        message = f"--token-file {path}: expected one word, found {len(text.split())}"
        raise UsageError(message)
    return text
