"""The log driver `journald`: output is stored as with other drivers, and also sent to the host's journal.

So `docker logs` needs no journal, and nothing is missing if the journal or the daemon was down: sending resumes where
it stopped. After a kill -9, the last messages may be sent twice. The fields are Docker's (moby
daemon/logger/journald).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.daemon.container import Container, Record
from sampan.daemon.settings.log_options import JOURNALD
from sampan.daemon.streams.log_details import attributes_of, tag_of
from sampan.models import LogConfig
from sampan.runtime.inotify import Inotify
from sampan.runtime.interface import STDERR
from sampan.runtime.journal import JournalSocket, encode, field_name
from sampan.runtime.log_entries import LogMessages, Message
from sampan.runtime.log_files import LogReader
from sampan.runtime.log_tail import Place
from sampan.tasks import in_thread

_log = logging.getLogger(__name__)
_CHUNK_BYTES = 256 << 10
_GATHER_S = 0.05
_RETRY_S = 1.0
_PATIENCE_S = 2.0
_TAKES_NOTHING_S = 5.0
_CLOSE_PATIENCE_S = 10.0
_TAG = "{{.ID}}"
_ERROR, _INFORMATIONAL = b"3", b"6"  # as in syslog(3)


@dataclass
class _Telling:
    """A log that is being sent.

    `ended` means that it does not grow any more, `is_stuck` that the journal does not accept it; `told` is the place
    up to which it was sent.
    """

    container: Container
    told: Place = (0, 0)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_stuck: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def place_file(self) -> Path:
        """The file with the place up to which it was sent, in its own directory as the log's directory is watched."""
        return self.container.dir / "journal/place"


class Journal:
    """Sends new output of containers with this log driver to the journal."""

    def __init__(self, path: Path) -> None:
        self._socket = JournalSocket(path)
        self._changes = Inotify(gather_s=_GATHER_S)
        self._told: dict[str, _Telling] = {}
        self._closing = asyncio.Event()

    def is_there(self) -> bool:
        """Whether a journal is listening on this host."""
        return self._socket.is_there()

    def why_not(self, config: LogConfig) -> str | None:
        """Why the log driver can't be used, in one sentence that begins like Docker's; `None` if it can."""
        if config.type != JOURNALD or self.is_there():
            return None
        return f"journald is not enabled on this host: nobody listens on {self._socket.path}"

    def tell(self, container: Container) -> None:
        """Send what the container has written and will write, until `end`; does nothing for other log drivers."""
        if container.record.host_config.log_config.type != JOURNALD:
            return
        telling = self._told.setdefault(container.id, _Telling(container))
        telling.ended.clear()
        if telling.task is None:
            telling.task = asyncio.create_task(self._tell(telling), name=f"tell the journal of {container.id[:12]}")

    def tell_rest(self, container: Container) -> None:
        """Send what an earlier daemon left over from a container that is not running."""
        self.tell(container)
        if telling := self._told.get(container.id):
            telling.ended.set()

    async def end(self, container: Container) -> None:
        """Called when the container writes no more. On return, a journal that accepts it has received everything."""
        telling = self._told.get(container.id)
        if telling is None or telling.task is None:
            return
        telling.ended.set()
        if not telling.is_stuck:
            await asyncio.wait((telling.task,), timeout=_PATIENCE_S)

    async def forget(self, container: Container) -> None:
        """Called before the container is removed: what the journal did not accept is lost."""
        await self.end(container)
        await self._stop(container.id)

    async def close(self) -> None:
        """Stop sending; the next daemon resumes after the last message."""
        self._closing.set()
        if tasks := [one.task for one in self._told.values() if one.task]:
            await asyncio.wait(tasks, timeout=_CLOSE_PATIENCE_S)
        for id in list(self._told):
            await self._stop(id)
        self._socket.close()

    async def _stop(self, id: str) -> None:
        telling = self._told.pop(id, None)
        if telling and telling.task:
            telling.task.cancel()
            await asyncio.gather(telling.task, return_exceptions=True)

    async def _tell(self, telling: _Telling) -> None:
        container = telling.container
        try:
            while not self._closing.is_set():
                await self._tell_all(telling)
                if telling.ended.is_set():  # else it has just been started again
                    break
        except OSError as error:
            _log.error("the output of container %s can't be sent to the journal: %s", container.id, error)
        finally:
            if self._told.get(container.id) is telling:
                del self._told[container.id]

    async def _tell_all(self, telling: _Telling) -> None:
        files, fields = telling.container.log, fields_of(telling.container.record)
        with LogReader(files) as reader, self._changes.watch(files.path.parent) as changed:
            await in_thread(_go, reader, telling.place_file)
            telling.told = reader.place
            messages = LogMessages(reader)
            while True:
                is_over = telling.ended.is_set()
                while (told := await in_thread(messages.read, _CHUNK_BYTES)) is not None:
                    await self._send(telling, [(_entry(one, fields), one.after) for one in told])
                    if self._closing.is_set():
                        return
                if is_over:
                    break
                await _first_of(changed.wait(), telling.ended.wait(), self._closing.wait())
                if self._closing.is_set():
                    return
            await self._send(telling, [(_entry(one, fields), one.after) for one in messages.rest()])

    async def _send(self, telling: _Telling, entries: list[tuple[bytes, Place]]) -> None:
        """Send all entries, however long the journal is down, or until the daemon closes; record how far it got.

        Each entry comes with the place after it.
        """
        entries.reverse()
        while entries and not self._closing.is_set():
            try:
                await asyncio.to_thread(self._send_now, telling, entries)
                telling.is_stuck = False
            except OSError as error:
                if not telling.is_stuck:
                    _log.warning("container %s: the journal accepts nothing: %s", telling.container.id, error)
                telling.is_stuck = True
            await asyncio.to_thread(_note, telling.place_file, telling.told)
            if telling.is_stuck:
                await _first_of(asyncio.sleep(_RETRY_S), self._closing.wait())

    def _send_now(self, telling: _Telling, entries: list[tuple[bytes, Place]]) -> None:
        last = time.monotonic()
        while entries and not self._closing.is_set():
            entry, after = entries[-1]
            try:
                self._socket.send(entry)
            except BlockingIOError:
                if time.monotonic() - last > _TAKES_NOTHING_S:
                    raise
                continue
            entries.pop()
            telling.told, last = after, time.monotonic()


def fields_of(record: Record) -> Mapping[str, bytes]:
    """The fields common to all entries of a container."""
    tag = tag_of(record, default=_TAG)
    fields = {
        "CONTAINER_ID": record.id[:12],
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_NAME": record.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": record.image_name,
        "SYSLOG_IDENTIFIER": tag,
    }
    extra = {name: value for key, value in attributes_of(record).items() if (name := field_name(key))}
    return {name: value.encode(errors="surrogateescape") for name, value in {**fields, **extra}.items()}


def _entry(message: Message, fields: Mapping[str, bytes]) -> bytes:
    said = {
        "MESSAGE": message.words,
        "PRIORITY": _ERROR if message.stream == STDERR else _INFORMATIONAL,
        "SYSLOG_TIMESTAMP": message.stamp.encode(),
    }
    if message.part:
        said |= {
            "CONTAINER_PARTIAL_ID": message.part.id.encode(),
            "CONTAINER_PARTIAL_ORDINAL": str(message.part.ordinal).encode(),
            "CONTAINER_PARTIAL_LAST": b"true" if message.part.last else b"false",
        }
        if not message.part.last:
            said["CONTAINER_PARTIAL_MESSAGE"] = b"true"
    return encode({**fields, **said})


def _go(reader: LogReader, place_file: Path) -> None:
    """Move to where sending stopped last time; without a record of that, stay at the beginning."""
    try:
        number, offset = map(int, place_file.read_text().split())
    except (FileNotFoundError, ValueError):  # none, or truncated by a full disk
        return
    reader.go(number, offset)


def _note(place_file: Path, place: Place) -> None:
    place_file.parent.mkdir(exist_ok=True)
    new = place_file.with_suffix(".new")
    new.write_text("{} {}".format(*place))
    new.replace(place_file)


async def _first_of(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.ensure_future(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
