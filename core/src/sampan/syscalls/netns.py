"""Creates network namespaces, and runs functions inside them.

A namespace is entered by a thread. Each function is run in a new thread, which ends afterwards, so no thread has to
return to its namespace, and none is left in the wrong one.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from sampan.syscalls.namespaces import CLONE_NEWNET, open_namespace, setns, unshare

ResultT = TypeVar("ResultT")

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
_IFREQ_FLAGS = struct.Struct("16sH14x")  # struct ifreq with ifr_flags; the rest is not read (netdevice(7))


def new_netns(setup: Callable[[], None]) -> int:
    """Create a network namespace, run `setup` inside it, and return it as a file descriptor (closed on exec).

    The namespace exists as long as a descriptor, a process or a mount refers to it. Raises `OSError`.
    """

    def make() -> int:
        unshare(CLONE_NEWNET)
        setup()
        return open_namespace("net")

    return in_own_thread(make)


def run_in_netns(netns_fd: int, work: Callable[[], ResultT]) -> ResultT:
    """Run `work` in a new thread inside the namespace, and return its result or raise its exception."""

    def enter() -> ResultT:
        setns(netns_fd, CLONE_NEWNET)
        return work()

    return in_own_thread(enter)


def set_link_up(ifname: str) -> None:
    """Bring up an interface in the calling thread's namespace. Raises `OSError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = _IFREQ_FLAGS.pack(ifname.encode(), 0) + bytes(8)
        _, flags = _IFREQ_FLAGS.unpack_from(fcntl.ioctl(control, SIOCGIFFLAGS, request))
        fcntl.ioctl(control, SIOCSIFFLAGS, _IFREQ_FLAGS.pack(ifname.encode(), flags | IFF_UP) + bytes(8))


def in_own_thread(work: Callable[[], ResultT]) -> ResultT:
    """Run `work` in a new thread, and return its result or raise its exception."""
    outcome: Future[ResultT] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # raised in the calling thread
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    return outcome.result()
