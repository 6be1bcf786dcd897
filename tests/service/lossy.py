"""What a decoder of tests does instead of decoding: dies, hangs, eats memory. Runs in workers."""

from __future__ import annotations

import os
import signal
import time

from annidx.images.facts import Details
from annidx.model import Record
from annidx.service.decoding import Refused, Sent, decode


def lossy(sent: Sent) -> Record | bytes | Details | Refused:
    """Do what the picture says."""
    what = bytes(sent.data[:9])
    if what == b"\xff\xd8CRASH  ":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == b"\xff\xd8HANG   ":
        time.sleep(30)  # so that a test without a limit of time fails, instead of hanging
    if what == b"\xff\xd8MEMORY ":
        return decode(_Greedy(sent.data, sent.names, sent.limits))
    return decode(sent)


class _Greedy(Sent):
    """Takes a gigabyte when its bytes are looked at."""

    def __getattribute__(self, name: str) -> object:
        if name == "data":
            return bytearray(10**9)
        return super().__getattribute__(name)
