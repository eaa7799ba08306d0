"""The user of a container's process: `USER[:GROUP]`, looked up in the image's own /etc/passwd and /etc/group.

These files come from an image, so they may be hostile: they are resolved below the root's descriptor with no way out,
read up to a limit, and invalid lines are ignored. Rules and messages as in github.com/moby/sys/user: digits are a
number, never a name; numbers need no entry; the first match wins.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sampan.errdefs import InvalidArgument
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, openat2

_NUMBER = re.compile(r"[+-]?[0-9]+")
_MAX_ID = (1 << 31) - 1
_MAX_FILE_BYTES = 4 << 20


@dataclass(frozen=True)
class User:
    """Numbers for the OCI spec, and the home directory ("" if the user has no entry)."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = ""


ROOT = User()


@dataclass(frozen=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def look_up(root: int, spec: str, group_add: Sequence[str] = ()) -> User:
    """The user that `spec` names in the root file system opened as `root`, with the groups of `--group-add`.

    Raises `InvalidArgument` with Docker's message (`unable to find user x: no matching entries in passwd file`).
    """
    name, _, group = spec.partition(":")
    account = _find_account(root, name)
    groups = list(_groups(root, {account.name, group, *group_add} - {""}))
    gid, supplementary = _find_groups(groups, account, group)
    added = {_find_group(groups, one) for one in group_add}
    additional = dict.fromkeys([gid, *supplementary, *sorted(added)])
    return User(account.uid, gid, tuple(additional), account.home)


def _find_account(root: int, name: str) -> _Account:
    number = _number(name) if name else 0
    for account in _accounts(root, name if number is None else str(number)):
        if account.uid == number if number is not None else account.name == name:
            return account
    if number is None:
        raise InvalidArgument(f"unable to find user {name}: no matching entries in passwd file")
    return _Account("", number, 0, "")


def _find_groups(groups: list[_Group], account: _Account, name: str) -> tuple[int, list[int]]:
    """The primary group and the supplementary ones, which apply only if no primary one is given."""
    if name:
        return _find_group(groups, name), []
    return account.gid, [group.gid for group in groups if account.name and account.name in group.members]


def _find_group(groups: list[_Group], name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for group in groups:
        if group.name == name:
            return group.gid
    raise InvalidArgument(f"unable to find group {name}: no matching entries in group file")


def _number(text: str) -> int | None:
    """The ID in `text`; `None` for a name. Raises `InvalidArgument` for one out of range."""
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text) if len(text) <= 20 else _MAX_ID + 1
    if not 0 <= number <= _MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{_MAX_ID}")
    return number


def _accounts(root: int, token: str) -> Iterator[_Account]:
    for fields in _lines(root, b"etc/passwd", {token}):
        uid, gid = _id_field(fields, 2), _id_field(fields, 3)
        if uid is not None and gid is not None:
            yield _Account(fields[0], uid, gid, fields[5] if len(fields) > 5 else "")


def _groups(root: int, tokens: set[str]) -> Iterator[_Group]:
    for fields in _lines(root, b"etc/group", tokens):
        gid = _id_field(fields, 2)
        if gid is not None:
            yield _Group(fields[0], gid, tuple(fields[3].split(",")) if len(fields) > 3 else ())


def _id_field(fields: list[str], index: int) -> int | None:
    text = fields[index] if len(fields) > index else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID else None


def _lines(root: int, path: bytes, tokens: set[str]) -> Iterator[list[str]]:
    """The fields of each line that contains one of `tokens`; none if the file is missing or not a regular file.

    Only these are parsed: the file may have a million lines, and its container may ask for execs all the time.
    """
    try:
        place = openat2(root, path, os.O_PATH, RESOLVE_IN_ROOT)
    except OSError:
        return
    try:
        # Checked before it is opened: the image may have a fifo or a device there.
        content = _read(place) if stat.S_ISREG(os.fstat(place).st_mode) else b""
    finally:
        os.close(place)
    wanted = [token.encode(errors="surrogateescape") for token in tokens]
    for line in content.split(b"\n"):
        if any(token in line for token in wanted):
            text = line.decode(errors="surrogateescape").strip()
            if not text.startswith("#"):
                yield [field.strip() for field in text.split(":")]


def _read(place: int) -> bytes:
    with Path(f"/proc/self/fd/{place}").open("rb") as file:
        return file.read(_MAX_FILE_BYTES)
