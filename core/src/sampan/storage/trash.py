"""Deleting directory trees off the critical path.

A tree is renamed into the trash, which is atomic and fast, and a thread deletes it. The next instance deletes what a
killed daemon left there.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import uuid
from pathlib import Path

_log = logging.getLogger(__name__)


class Trash:
    """A directory whose contents are deleted in the background. The thread ends when it is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._again = False
        self._given_up: set[str] = set()

    def put(self, tree: Path) -> None:
        """Move `tree` into the trash. It is gone from its path when this returns, and deleted later."""
        tree.rename(self._path / f"{tree.name}-{uuid.uuid4().hex}")
        self.empty()

    def empty(self) -> None:
        """Delete the contents of the trash in the background."""
        with self._lock:
            self._again = True
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="snapshot-trash", daemon=True)
                self._worker.start()

    def wait(self) -> None:
        """Wait until everything in the trash is deleted."""
        with self._lock:
            worker = self._worker
        if worker:
            worker.join()

    def _work(self) -> None:
        while self._has_work():
            for name in self._names():
                if name not in self._given_up:
                    self._delete(self._path / name)

    def _has_work(self) -> bool:
        with self._lock:
            if self._again:
                self._again = False
                return True
            self._worker = None
            return False

    def _names(self) -> list[str]:
        try:
            return [tree.name for tree in self._path.iterdir()]
        except FileNotFoundError:
            return []  # the whole state directory was removed

    def _delete(self, tree: Path) -> None:
        """Delete a tree. One that can't be (with an immutable file) is logged once, and retried at the next start."""
        try:
            _delete_tree(tree)
        except (OSError, subprocess.CalledProcessError) as error:
            self._given_up.add(tree.name)
            _log.warning("can't delete removed snapshot %s: %s", tree, error)


def _delete_tree(tree: Path) -> None:
    """Delete a tree, with rm(1) if directories are nested deeper than the recursion or open-files limit allows."""
    try:
        shutil.rmtree(tree)
    except (OSError, RecursionError):
        subprocess.run(["rm", "-rf", "--", tree], check=True, capture_output=True)
