"""A container's files as the container sees them: its root with its volumes, binds and tmpfs in place.

A view is a mount namespace whose root is the container's root, and is kept alive only by file descriptors: none of
its mounts can be seen, or left behind, anywhere else. For a running container it is a copy of the container's own
mounts. For any other, its snapshot and volumes are mounted again, by descriptor: the host never resolves a path in
that root (CVE-2018-15664, CVE-2026-41568, CVE-2026-42306). Nothing in a view can be executed, and no device opened.

The threads that create views run only a few system calls once they are in a foreign root: anything that Python loaded
then would be the container's (CVE-2019-14271).
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.daemon.container import Container
from sampan.daemon.filesystem.mounting import Mounting, mounting
from sampan.daemon.filesystem.mounts import clean
from sampan.daemon.filesystem.rootfs import make_directory
from sampan.drivers import Mount
from sampan.errdefs import Conflict, SystemFailure
from sampan.images.mounted import PREFIX
from sampan.runtime.spec import SpecMount
from sampan.runtime.tree import make_tree
from sampan.syscalls.mount import (
    MNT_DETACH,
    MS_PRIVATE,
    MS_REC,
    UMOUNT_NOFOLLOW,
    mount,
    mount_with_options,
    umount2,
)
from sampan.syscalls.namespaces import CLONE_FS, CLONE_NEWNS, setns, unshare
from sampan.syscalls.open_tree import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    mount_setattr,
    move_mount,
    open_tree,
)
from sampan.syscalls.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from sampan.syscalls.overlay import mount_tower
from sampan.syscalls.pivot_root import pivot_root
from sampan.tasks import in_thread, settled

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon

_INERT = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_KERNELS = ("/proc", "/sys", "/dev")
"""What the engine mounts there belongs to the kernel, not to the container's files; dockerd's copies omit it too."""


@dataclass(frozen=True)
class View:
    """`root` is its root directory, opened with O_PATH; `namespace` its mount namespace, for a process to enter."""

    root: int
    namespace: int


@asynccontextmanager
async def viewed(daemon: Daemon, container: Container, *, writing: bool = False) -> AsyncIterator[View]:
    """The view of a container in this context, with everything that is mounted in it.

    Writing to a stopped container keeps it from being started in the meantime, as it would not see all of it. Raises
    `SystemFailure`, or `InvalidArgument` if a bind's source is gone.
    """
    async with _opened(daemon, container, bare=False, writing=writing) as view:
        yield view


@asynccontextmanager
async def viewed_bare(daemon: Daemon, container: Container) -> AsyncIterator[View]:
    """As `viewed`, without anything that is mounted in the container: only its image and its changes."""
    async with _opened(daemon, container, bare=True, writing=False) as view:
        yield view


@asynccontextmanager
async def _opened(daemon: Daemon, container: Container, *, bare: bool, writing: bool) -> AsyncIterator[View]:
    async with AsyncExitStack() as lock, AsyncExitStack() as held:
        view = await _of_running(daemon, container, bare=bare)
        if view is None:
            await lock.enter_async_context(daemon.alone(container.id))
            # It may have been started in the meantime.
            running = await _of_running(daemon, container, bare=bare)
            view = running or await _of_stopped(daemon, container, bare=bare)
            if running or not writing:
                await lock.aclose()
        held.callback(_close, view)
        yield view


async def _of_running(daemon: Daemon, container: Container, *, bare: bool) -> View | None:
    """The view of a running container that has its own mount namespace; `None` if there is none."""
    if not container.running:
        return None
    try:
        namespace = os.open(f"/proc/{container.state.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it has just ended
        return None
    try:
        if os.path.samestat(os.fstat(namespace), os.stat("/proc/self/ns/mnt")):  # noqa: PTH116  # no disk
            return None  # without its own namespace, its snapshot is shown
        # Checked after the open, so that the pid still was that of the container's init then, and nobody else's.
        await daemon.runtime.kill(container.id, 0)
        hidden = [] if bare else _hidden(container)
        return await _made(_in_own_thread, lambda: _copy_mounts(namespace, hidden, bare=bare))
    except Conflict:
        return None
    finally:
        os.close(namespace)


async def _of_stopped(daemon: Daemon, container: Container, *, bare: bool) -> View:
    if not container.running:
        await container.free.wait()
    mounts = await in_thread(daemon.storage.mounts, container.id)
    return await _made(_mount, daemon, container, mounts, bare)


async def _made(make: Callable[..., View], *arguments: Any) -> View:
    """As `in_thread`, but closes a view that a cancelled caller will never see."""
    deed = asyncio.ensure_future(asyncio.to_thread(make, *arguments))
    try:
        await settled(deed)
    except asyncio.CancelledError:
        if not deed.cancelled() and deed.exception() is None:
            _close(deed.result())
        raise
    return deed.result()


def _mount(daemon: Daemon, container: Container, rootfs: Sequence[Mount], bare: bool) -> View:
    wanted = Mounting((), ()) if bare else mounting(daemon, container)
    with _places(daemon.settings.exec_root) as places:
        moved = replace(wanted, mounts=tuple(_moved(wanted, container.bundle_dir, places)))
        return _in_own_thread(lambda: _mount_anew(rootfs, moved, places))


def _moved(wanted: Mounting, bundle: Path, places: Path) -> Iterator[SpecMount]:
    """The mounts, with those from trees in the bundle replaced by trees in `places`.

    Anything else in the bundle is left out, as it exists only while the container runs.
    """
    trees = {str(bundle / tree.name): str(places / tree.name) for tree in wanted.trees if tree.owner is None}
    for each in wanted.mounts:
        if each.source in trees:
            yield replace(each, source=trees[each.source])
        elif not each.source.startswith(f"{bundle}/"):
            yield each


def _hidden(container: Container) -> list[str]:
    """Those of the kernel's mounts below which the user has mounted nothing."""
    record = container.record
    asked = [point.destination for point in record.mounts] + [clean(path) for path in record.host_config.tmpfs or {}]
    return [path for path in _KERNELS if not any(f"{one}/".startswith(f"{path}/") for one in asked)]


def _in_own_thread(make: Callable[[], View]) -> View:
    """Run in a dedicated thread: after leaving the process's namespaces, it can't be used for anything else."""
    with ThreadPoolExecutor(1, thread_name_prefix="view") as thread:
        try:
            return thread.submit(make).result()
        except OSError as error:
            raise SystemFailure(f"the container's files can't be mounted: {error}") from error


@contextmanager
def _places(state_dir: Path) -> Iterator[Path]:
    """A temporary directory to mount things in. Its removal leaves alone whatever is mounted there."""
    places = Path(tempfile.mkdtemp(prefix=PREFIX, dir=state_dir))
    try:
        yield places
    finally:
        for place in places.iterdir():
            if place.is_dir():
                place.rmdir()
            else:
                place.unlink()
        places.rmdir()


def _close(view: View) -> None:
    os.close(view.root)
    os.close(view.namespace)


# Runs in the dedicated thread.


def _copy_mounts(namespace: int, hidden: Sequence[str], *, bare: bool) -> View:
    with _own_proc() as proc:
        unshare(CLONE_FS)
        setns(namespace, CLONE_NEWNS)
        unshare(CLONE_NEWNS)
        root = os.open("/", _DIRECTORY)
        try:
            mount_setattr(root, propagation=MS_PRIVATE)
            if bare:
                _keep_root_only()
        finally:
            os.close(root)
        for path in hidden:
            with suppress(OSError):  # nothing is mounted there
                umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW)
        return _finished(proc)


def _keep_root_only() -> None:
    """Detach everything that is mounted in the root, however it is stacked."""
    tree = open_tree("/")
    root = os.open("/", _DIRECTORY)
    try:
        move_mount(tree, root)
        os.fchdir(tree)
        _make_root_of_cwd()
    finally:
        os.close(root)
        os.close(tree)


def _mount_anew(rootfs: Sequence[Mount], wanted: Mounting, places: Path) -> View:
    place = places / "rootfs"
    place.mkdir()
    with _own_proc() as proc:
        unshare(CLONE_FS | CLONE_NEWNS)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        for each in rootfs:
            mount_tower(each.source, place, each.type, each.options)
        for tree in wanted.trees:
            if tree.owner is None:
                make_tree(tree, places)
        root = os.open(place, _DIRECTORY)
        try:
            # Mounts must come before those below them.
            for one in sorted(wanted.mounts, key=lambda one: one.destination.count("/")):
                _put(root, one)
            os.fchdir(root)
        finally:
            os.close(root)
        _make_root_of_cwd()
        return _finished(proc)


def _make_root_of_cwd() -> None:
    # Stacks the new root on the old one, and then detaches the old one (pivot_root(2), NOTES).
    pivot_root(".", ".")
    umount2(".", MNT_DETACH)
    os.chdir("/")


def _finished(proc: int) -> View:
    root = os.open("/", _DIRECTORY)
    try:
        mount_setattr(root, attributes=_INERT)
        return View(root, os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc))
    except BaseException:
        os.close(root)
        raise


@contextmanager
def _own_proc() -> Iterator[int]:
    """The thread's directory in the host's /proc, opened early: the container has another /proc, or none."""
    proc = os.open("/proc/thread-self", _DIRECTORY)
    try:
        yield proc
    finally:
        os.close(proc)


def _put(root: int, wanted: SpecMount) -> None:
    """Mount what is `wanted` in the root, creating a missing mount point as the runtime would."""
    with ExitStack() as undo:
        if wanted.type == "tmpfs":
            target = _target(root, wanted.destination, undo, is_directory=True)
            mount_with_options("tmpfs", f"/proc/self/fd/{target}", "tmpfs", _here(wanted.options))
            return
        tree = open_tree(wanted.source, recursive="rbind" in wanted.options)
        undo.callback(os.close, tree)
        is_read_only = not {"ro", "rro"}.isdisjoint(wanted.options)
        mount_setattr(tree, attributes=MOUNT_ATTR_RDONLY if is_read_only else 0, propagation=MS_PRIVATE)
        move_mount(tree, _target(root, wanted.destination, undo, is_directory=Path(wanted.source).is_dir()))


def _target(root: int, path: str, undo: ExitStack, *, is_directory: bool) -> int:
    try:
        target = openat2(root, os.fsencode(path), os.O_PATH, _RESOLVE)
    except FileNotFoundError:
        _make_target(root, path, is_directory=is_directory)
        target = openat2(root, os.fsencode(path), os.O_PATH, _RESOLVE)
    undo.callback(os.close, target)
    return target


def _make_target(root: int, path: str, *, is_directory: bool) -> None:
    if is_directory:
        make_directory(root, path)
        return
    parent, base = posixpath.split(path)
    make_directory(root, parent)
    directory = openat2(root, os.fsencode(parent), os.O_PATH | os.O_DIRECTORY, _RESOLVE)
    try:
        os.close(os.open(base, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755, dir_fd=directory))
    finally:
        os.close(directory)


def _here(options: Sequence[str]) -> list[str]:
    """The options without propagation, which is meant for the container; here it would affect what is below."""
    return [one for one in options if not one.endswith(("private", "shared", "slave"))]
