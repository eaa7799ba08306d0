"""How a local volume's options become mount arguments, and how mount failures are reported."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from sampan.daemon.volumes import volume_options
from sampan.daemon.volumes.volume_options import mount_volume
from sampan.errdefs import SystemFailure

PLACE = Path("/volumes/v/_data")


class Kernel:
    """Records mount requests, and fails them with errno `number` if that is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, list[str]]] = []
        self.number = 0

    def mount(self, source: str, target: Path | str, type: str, options: Iterable[str]) -> None:
        self.asked.append((source, str(target), type, list(options)))
        if self.number:
            raise OSError(self.number, f"mount {target}: {os.strerror(self.number)}")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(volume_options, "mount_with_options", kernel.mount)
    return kernel


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (
            {"type": "nfs", "device": ":/export", "o": "addr=192.0.2.7,nfsvers=4.2,soft,ro"},
            (":/export", "nfs", ["addr=192.0.2.7", "nfsvers=4.2", "soft", "ro"]),
        ),
        (
            {"type": "nfs4", "device": ":/export", "o": "rw,addr=localhost,hard"},
            (":/export", "nfs4", ["rw", "addr=127.0.0.1", "hard"]),
        ),
        (
            {"type": "cifs", "device": "//server/share", "o": "addr=2001:db8::7,username=a"},
            ("//server/share", "cifs", ["addr=2001:db8::7", "username=a"]),
        ),
        ({"type": "none", "device": "/src", "o": "bind"}, ("/src", "none", ["bind"])),
        (
            {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,addr=keep.me"},
            ("tmpfs", "tmpfs", ["size=1m", "addr=keep.me"]),
        ),
        ({"type": "ext4", "device": "/dev/loop7"}, ("/dev/loop7", "ext4", [])),
    ],
)
def test_options_come_to_a_mount_with_addresses_of_servers_looked_up(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], asked: tuple[str, str, list[str]]
) -> None:
    found = {"localhost": [(None, None, None, "", ("127.0.0.1", 0))]}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: found[host])
    mount_volume(PLACE, options)
    source, type, words = asked
    assert kernel.asked == [(source, str(PLACE), type, words)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"type": "nfs", "device": ":/x", "o": "addr=192.0.2.7,nfsvers=3"},
            "mount :/x:/volumes/v/_data, data: addr=192.0.2.7,nfsvers=3: no such device",
        ),
        (
            {"type": "cifs", "device": "//s/x", "o": "ro,username=a,password=secret,vers=3"},
            "mount //s/x:/volumes/v/_data, flags: 0x1, data: username=a,password=********,vers=3: no such device",
        ),
        ({"type": "none", "device": "/x", "o": "bind"}, "mount /x:/volumes/v/_data, flags: 0x1000: no such device"),
        ({"type": "ext4", "device": "/x"}, "mount /x:/volumes/v/_data: no such device"),
    ],
)
def test_what_cannot_be_mounted_is_told_in_dockers_words_without_passwords(
    kernel: Kernel, options: dict[str, str], words: str
) -> None:
    kernel.number = errno.ENODEV
    with pytest.raises(SystemFailure) as caught:
        mount_volume(PLACE, options)
    assert str(caught.value) == (
        f"error while mounting volume '/volumes/v/_data': failed to mount local volume: {words}"
    )


def test_a_server_that_is_not_known_is_named(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SystemFailure) as caught:
        mount_volume(PLACE, {"type": "nfs", "device": ":/x", "o": "addr=nas.invalid"})
    assert str(caught.value) == (
        "error while mounting volume '/volumes/v/_data': error resolving passed in network volume address: "
        "lookup nas.invalid: no such host"
    )
    assert kernel.asked == []
