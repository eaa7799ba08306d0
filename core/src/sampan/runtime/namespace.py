"""The namespaces in which the OCI runtime and the monitors live.

Three kinds of host (see the kernel's admin-guide/cgroup-v2.rst):

- *unified*: cgroup v2 at `/sys/fs/cgroup`. The runtime sees the host's tree.
- *hybrid*: v1 at `/sys/fs/cgroup/*`, v2 at `/sys/fs/cgroup/unified`. Given that, a runtime would use v1. So its
  processes get a cgroup namespace rooted at our slice, and a mount namespace where `/sys/fs/cgroup` is cgroup v2:
  a unified host whose root is the slice. Nothing of v1 is touched.
- *legacy*: v1 only. The runtime sees the host's tree.

On every host, a container's rootfs is mounted in a separate mount namespace, that of its monitor: when the monitor
and the container are gone, however they ended, the kernel has unmounted everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sampan.syscalls.cgroup import delegated_cgroup, make_cgroups, own_cgroup, remove_cgroups, step_aside
from sampan.syscalls.mount import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    MS_SLAVE,
    find_mount_point,
    mount,
)
from sampan.syscalls.namespaces import CLONE_NEWCGROUP, CLONE_NEWNS, open_namespace, setns, unshare

T = TypeVar("T")

CGROUP_ROOT = Path("/sys/fs/cgroup")
HYBRID_ROOT = CGROUP_ROOT / "unified"
_MOUNTS = {"unified": CGROUP_ROOT, "hybrid": HYBRID_ROOT}


def host_kind() -> str:
    """The kind of host: `unified`, `hybrid` or `legacy`."""
    if (CGROUP_ROOT / "cgroup.controllers").exists():
        return "unified"
    return "hybrid" if (HYBRID_ROOT / "cgroup.controllers").exists() else "legacy"


def default_slice(name: str) -> str:
    """The daemon's slice `name`: in its unit's cgroup if systemd delegated that, else below the root."""
    mount = _MOUNTS.get(host_kind())
    return (delegated_cgroup(mount, own_cgroup()) if mount else "") + f"/{name}"


class RuntimeNamespace:
    """Runs functions in threads that see the host as the OCI runtime should see it. One for each daemon.

    `slice` is the resource driver's parent cgroup. Create it before the process has other children: on a hybrid host,
    the process enters the slice for a moment, and children started then would stay there.
    """

    def __init__(self, slice: str = "/sampan", *, threads: int = 4) -> None:
        self.slice = slice
        self._cgroups = _MOUNTS.get(host_kind())
        if host_kind() == "unified":
            _make_room(slice)
        if self._cgroups:  # before a runtime creates it implicitly, since it would not be removed then
            make_cgroups(self._cgroups / slice.lstrip("/"), self._cgroups)
        self._cgroup_ns = self._make_cgroup_namespace() if host_kind() == "hybrid" else None
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="runtime", initializer=self._enter_for_good)
        # Start all threads now: a later one would keep alive whatever is mounted on the host by then.
        together = threading.Barrier(threads)
        list(self._threads.map(lambda _: together.wait(), range(threads)))

    def close(self) -> None:
        """End the threads and close the namespace; processes started in it continue. An empty slice is removed."""
        self._threads.shutdown()
        if self._cgroups:
            remove_cgroups(self._cgroups / self.slice.lstrip("/"), self._cgroups)
        if self._cgroup_ns is not None:
            os.close(self._cgroup_ns)
            self._cgroup_ns = None

    def cgroups_path(self, path: str) -> str:
        """Translate `path`, absolute in the host's cgroup file system, for the runtime."""
        if self._cgroup_ns is None or self.slice == "/":
            return path
        if not path.startswith(f"{self.slice}/"):
            raise ValueError(f"cgroup {path} is outside of {self.slice}")
        return path.removeprefix(self.slice)

    def own_cgroup(self, id: str) -> str | None:
        """The path of a container's cgroup if no resource driver creates one; `None` with v1: the runtime chooses."""
        return f"{self.slice.rstrip('/')}/{id}" if self._cgroups else None

    def remove_own_cgroup(self, id: str) -> None:
        """Remove that cgroup, if the runtime has not done so or did not get that far."""
        if self._cgroups:
            with contextlib.suppress(OSError):  # it does not exist, or is not empty
                (self._cgroups / self.slice.lstrip("/") / id).rmdir()

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` in one of the threads. It must leave the thread's namespaces as they are."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def run_in_new_mounts(self, below: Path, function: Callable[[], T]) -> T:
        """Run `function` in a new thread with its own mount namespace, copied from the host's current one.

        Mounts below the directory `below` are visible only there, to processes that the function starts.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def settle(
            set_outcome: Callable[[T], None] | Callable[[BaseException], None], value: T | BaseException
        ) -> None:
            if not outcome.done():
                set_outcome(value)  # type: ignore[arg-type]

        def body() -> None:
            try:
                unshare(CLONE_NEWNS)
                self._see_only_the_slice()
                _stop_propagation_from(below)
                result = function()
            except BaseException as error:  # raised where the outcome is awaited
                loop.call_soon_threadsafe(settle, outcome.set_exception, error)
            else:
                loop.call_soon_threadsafe(settle, outcome.set_result, result)

        threading.Thread(target=body, name="runtime-create", daemon=True).start()
        return await outcome

    def _enter_for_good(self) -> None:
        if self._cgroup_ns is not None:
            unshare(CLONE_NEWNS)
            self._see_only_the_slice()

    def _see_only_the_slice(self) -> None:
        """On a hybrid host only; the thread must have its own mount namespace."""
        if self._cgroup_ns is not None:
            setns(self._cgroup_ns, CLONE_NEWCGROUP)
            # Private, so that the new mount stays here even if the host's mounts are shared.
            mount(None, CGROUP_ROOT, None, MS_PRIVATE | MS_REC)
            mount("cgroup2", CGROUP_ROOT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)

    def _make_cgroup_namespace(self) -> int:
        """A cgroup namespace rooted at the slice: its root is the cgroup of the process when it unshares."""
        slice_dir = HYBRID_ROOT / self.slice.lstrip("/")
        home = HYBRID_ROOT / own_cgroup().lstrip("/")

        def make() -> int:
            (slice_dir / "cgroup.procs").write_text(str(os.getpid()))
            try:
                unshare(CLONE_NEWCGROUP)
            finally:
                (home / "cgroup.procs").write_text(str(os.getpid()))
            return open_namespace("cgroup")

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(make).result()


def _make_room(slice: str) -> None:
    """Leave any cgroup above the slice.

    Otherwise a runtime would enable the controllers that the kernel still allows, and so make the slice a threaded
    cgroup, which can't contain containers; processes that we start would be in the way as well.
    """
    own = own_cgroup()
    is_above = Path(slice).is_relative_to(own)
    if is_above and (CGROUP_ROOT / own.lstrip("/") / "cgroup.type").exists():  # only the root cgroup has no type
        step_aside(CGROUP_ROOT / own.lstrip("/"))


def _stop_propagation_from(directory: Path) -> None:
    """Keep mounts below `directory` from propagating to the host, but still receive the host's.

    Only the mount that contains the directory is changed: binds of others may still be `rshared`.
    """
    mount(None, find_mount_point(directory), None, MS_SLAVE)
