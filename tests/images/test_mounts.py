"""annidx.images.mounts: on which file systems inodes last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from annidx.images import mounts
from annidx.images.mounts import keeps_inodes, mounted_types, parse_mountinfo

TEXT = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime master:1 propagate_from:2 - ext4 /dev/vda rw,discard
28 27 0:25 / /with\040blank\011and\134 ro,nosuid shared:7 - cifs //nas/a\040b ro,size=4k
29 27 0:26 / /a-b rw - smb3 //nas/c rw
30 27 0:27 / /sshfs rw - fuse.sshfs me@there: rw
31 27 8:17 / /ntfs rw - fuseblk /dev/sdb1 rw
32 27 8:33 / /stick rw - vfat /dev/sdc1 rw
33 27 8:34 / /card rw - exfat /dev/sdc2 rw
34 27 0:28 / /nfs rw - nfs4 server:/export rw
35 27 0:29 / /overlay rw - overlay overlay rw
36 27 0:30 / /pool rw - fuse.mergerfs a:b rw
37 27 0:31 / /host rw - 9p share rw
38 27 259:1 /home /home rw - btrfs /dev/nvme0n1 rw
39 27 0:32 / /odd rw - fuse.with\040blank x rw
40 27 0:33 / /made\012up rw -
41 27 nonsense / /x rw - cifs x rw
42 27
43 27 0:34 / /no/separator rw cifs x rw
44 27 0:35 / /bind rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("major", "minor", "lasting"),
    [
        (254, 0, True),  # ext4
        (0, 25, False),  # cifs
        (0, 26, False),  # smb3
        (0, 27, False),  # sshfs
        (8, 17, False),  # ntfs-3g
        (8, 33, False),  # vfat
        (8, 34, False),  # exfat
        (0, 28, True),  # nfs4
        (0, 29, True),  # overlay
        (0, 30, False),  # mergerfs
        (0, 31, False),  # 9p
        (259, 1, True),  # btrfs
        (0, 99, True),  # a subvolume of btrfs: not in the table
        (0, 32, False),  # a type with an escaped blank
        (0, 33, True),  # lines that say nothing
        (0, 34, True),
        (0, 35, True),  # tmpfs
    ],
)
def test_keeps_inodes(major: int, minor: int, lasting: bool) -> None:
    assert keeps_inodes(os.makedev(major, minor), parse_mountinfo(TEXT)) is lasting


def test_types_are_unescaped() -> None:
    types = parse_mountinfo(TEXT)
    assert types[os.makedev(0, 32)] == "fuse.with blank"
    assert types[os.makedev(0, 25)] == "cifs"
    assert os.makedev(0, 33) not in types


def test_another_system_is_taken_to_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_MOUNTINFO", tmp_path / "nothing")
    assert mounted_types() == {}
    assert keeps_inodes(tmp_path.stat().st_dev, {})


def test_names_that_are_no_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(b"1 2 0:40 / /caf\xe9\x0b\x85 rw - cifs //nas/\xff rw\n")
    monkeypatch.setattr(mounts, "_MOUNTINFO", table)
    assert mounted_types() == {os.makedev(0, 40): "cifs"}


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="only Linux has it")
def test_the_table_of_this_machine() -> None:
    types = mounted_types()
    assert types[Path("/proc").stat().st_dev] == "proc"
