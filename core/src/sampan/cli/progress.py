"""Shows the progress of pulls and loads: bars on a terminal, otherwise lines."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sampan.cli import human
from sampan.cli.errors import CliError
from sampan.cli.terminal import is_terminal, write_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Item = dict[str, Any]


def show_progress(items: Iterable[Item], output: int) -> None:
    """Show the items of a streamed response on descriptor `output`. Raises `CliError` for an error item."""
    if is_terminal(output) and os.environ.get("TERM") != "dumb":
        _show_bars(items, output)
    else:
        _show_lines(items, output)


def drain(items: Iterable[Item]) -> None:
    """Consume a streamed response without showing it. Raises `CliError` for an error item."""
    for item in items:
        _check(item)


def _check(item: Item) -> None:
    detail = item.get("errorDetail") or {}
    if message := detail.get("message") or item.get("error"):
        raise CliError(str(message))


def _show_lines(items: Iterable[Item], output: int) -> None:
    for item in items:
        _check(item)
        detail = item.get("progressDetail") or {}
        if item.get("progress") or detail.get("current") or detail.get("total"):
            continue  # an update of a bar
        write_text(output, _line(item))


def _line(item: Item) -> str:
    if "stream" in item:
        return str(item["stream"])
    prefix = f"{item['id']}: " if item.get("id") else ""
    return f"{prefix}{item['status']}\n" if "status" in item else ""


def _show_bars(items: Iterable[Item], output: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    with open(output, "w", closefd=False) as file:  # a descriptor, not a path
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[amount]}"))
        progress = Progress(*columns, console=Console(file=file, highlight=False, markup=False))
        with progress:
            bars = _Bars(progress)
            for item in items:
                _check(item)
                bars.show(item)


class _Bars:
    """One bar for each layer; other items are printed as lines above them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, item: Item) -> None:
        detail, status = item.get("progressDetail"), item.get("status", "")
        name = item.get("id")
        if not name or detail is None:
            text = _line(item).rstrip("\n")
            return self._progress.console.print(text, soft_wrap=True) if text else None
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task("", total=None, amount="")
        self._update(self._tasks[name], f"{name}: {status}", detail)
        return None

    def _update(self, task: TaskID, description: str, detail: dict[str, Any]) -> None:
        current, total = detail.get("current"), detail.get("total")
        if current is not None:
            amount = f"{human.size(current)}/{human.size(total)}" if total else human.size(current)
            self._progress.update(
                task, description=description, completed=current, total=total or None, amount=amount
            )
        elif description.endswith((" complete", " exists")):
            self._progress.update(task, description=description, completed=1, total=1, amount="")
        else:
            self._progress.update(task, description=description)
