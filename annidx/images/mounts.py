"""Which file systems keep the inode of a file, so that it can be known by its inode again.

On the others (network shares, user-space and FAT file systems) a number is made up at every mount,
or given to another file later: two files may then look like one, and one like two.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_MADE_UP = re.compile(
    r"smb3?|smbfs|cifs|fuse|fuse\..*|fuseblk|virtiofs|vfat|msdos|umsdos|fat|exfat|texfat|9p|afs"
    r"|ncpfs|davfs|vboxsf|vmhgfs|drvfs|prl_fs"
)
"""Types whose inodes do not last, by the kernel's names. NFS and overlay keep those of the file
systems beneath them; ntfs3 has the file's record number."""

_MOUNTINFO = Path("/proc/self/mountinfo")


def keeps_inodes(device: int, types: dict[int, str]) -> bool:
    """Tell whether inodes on a device last.

    Parameters
    ----------
    device : int
        ``st_dev`` of a file on it.
    types : dict of int to str
        From :func:`mounted_types`. A device that is not in it, such as a subvolume of btrfs or any
        device of another system than Linux, is taken to keep inodes.

    Examples
    --------
    >>> types = parse_mountinfo("40 27 0:52 / /nas rw - cifs //nas/photos rw")
    >>> keeps_inodes(os.makedev(0, 52), types), keeps_inodes(os.makedev(8, 1), types)
    (False, True)
    """
    return not _MADE_UP.fullmatch(types.get(device, ""))


def mounted_types() -> dict[int, str]:
    """Return the file system type of each mounted device; empty where the system does not say."""
    try:
        return parse_mountinfo(os.fsdecode(_MOUNTINFO.read_bytes()))
    except OSError:
        return {}


def parse_mountinfo(text: str) -> dict[int, str]:
    """Return the type of each device in the text of ``/proc/PID/mountinfo`` (see proc(5)).

    Lines that are not understood are passed over.
    """
    types = {}
    for line in text.split("\n"):  # not splitlines(): a name may hold other line breaks than "\n"
        # Mount points may not hold spaces (they are written \040), so the first " - " is the
        # separator behind the optional fields.
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        numbers = re.fullmatch(r"(\d+):(\d+)", fields[2]) if len(fields) > 2 else None
        if numbers and source:
            types[os.makedev(*map(int, numbers.groups()))] = _unescaped(source.split(" ")[0])
    return types


def _unescaped(text: str) -> str:
    """Undo the octal escapes of space, tab, line feed, backslash and "#"."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
