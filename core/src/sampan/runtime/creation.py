"""Creates containers: the record, the bundle, and conmon, which has the OCI runtime create it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sampan.errdefs import NotFound, SystemFailure
from sampan.runtime import conmon
from sampan.runtime.command import RuntimeCommand
from sampan.runtime.failure import create_failure, last_error
from sampan.runtime.interface import Bundle, Tree
from sampan.runtime.layout import Layout
from sampan.runtime.namespace import RuntimeNamespace
from sampan.runtime.record import Process, Record
from sampan.runtime.tree import join_tree, make_tree
from sampan.syscalls.pidfd import start_time


class Creation:
    """Creates containers. `record_of` returns the record of a running one, or raises `NotFound`."""

    def __init__(
        self, layout: Layout, namespace: RuntimeNamespace, conmon_path: Path, record_of: Callable[[str], Record]
    ) -> None:
        self._layout = layout
        self._namespace = namespace
        self._conmon = conmon_path
        self._record_of = record_of

    def create(self, bundle: Bundle, command: RuntimeCommand) -> int:
        """Write everything that the runtime needs, and have it create the container; returns the pid of init.

        To be called by `RuntimeNamespace.run_in_new_mounts`. Raises `StartFailure`, `SystemFailure`, and `NotFound`
        if another container's tree is missing.
        """
        directory = self._layout.container(bundle.id)
        directory.mkdir(mode=0o700)
        record = Record(
            bundle.id,
            str(bundle.dir),
            command.name,
            bundle.terminal,
            hooks="hooks" in bundle.spec,
            own_cgroup=not bundle.spec["linux"].get("cgroupsPath"),
            stdin_once=conmon.closes_stdin(bundle),
        )
        record.save(directory)
        self._write_bundle(bundle, command)
        monitor = self._monitor(bundle, command)
        try:
            pid = conmon.start(monitor)
        except SystemFailure as error:
            words, command_line = last_error(self._layout.log(bundle.id)), bundle.spec["process"]["args"]
            raise (create_failure(words, command_line[0]) if words else error) from None
        conmon_pid = int(monitor.conmon_pid_file.read_text())
        replace(record, init=_process(pid), conmon=_process(conmon_pid)).save(directory)
        return pid

    def _write_bundle(self, bundle: Bundle, command: RuntimeCommand) -> None:
        for tree in (Tree("rootfs", bundle.rootfs), *bundle.trees):
            if tree.owner is None:
                make_tree(tree, bundle.dir)
            else:
                self._join_tree(tree.owner, tree.name, bundle.dir / tree.name)
        spec = bundle.spec
        if path := spec["linux"].get("cgroupsPath") or self._namespace.own_cgroup(bundle.id):
            spec = {**spec, "linux": {**spec["linux"], "cgroupsPath": self._namespace.cgroups_path(path)}}
        (bundle.dir / "config.json").write_text(json.dumps(command.fitted(spec)))

    def _join_tree(self, owner: str, name: str, place: Path) -> None:
        record = self._record_of(owner)
        theirs = Path(record.bundle, name)
        if record.conmon is None or not theirs.exists():
            raise NotFound(f"container {owner} has no tree {name}")
        join_tree(record.conmon.pid, theirs, place)

    def _monitor(self, bundle: Bundle, command: RuntimeCommand) -> conmon.Monitor:
        return conmon.Monitor(
            conmon=self._conmon,
            runtime=command.path,
            runtime_args=command.global_arguments(self._layout.log(bundle.id)),
            id=bundle.id,
            bundle=bundle.dir,
            dir=self._layout.container(bundle.id),
            tmp_dir=self._layout.tmp,
            terminal=bundle.terminal,
            stdin=bundle.stdin,
            stdin_once=conmon.closes_stdin(bundle),
            log_path=bundle.log_path,
            log_max_bytes=bundle.log_max_bytes,
        )


def _process(pid: int) -> Process:
    # A process that has already ended gets an impossible start time, and is found to be gone.
    return Process(pid, start_time(pid) or 0)
