"""A Job: one command passing through the engine, with its typed request, caller, streams and timestamps."""

from __future__ import annotations

import enum
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sampan.errdefs import InvalidArgument

RequestT = TypeVar("RequestT")
ThingT = TypeVar("ThingT")


class JobState(enum.StrEnum):
    """queued → running → succeeded | failed | cancelled; a queued job may go directly to the last two."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Caller:
    """The client: the peer of the unix socket, or the subject of the TLS client certificate.

    `role` is the listener's: `full` or `read-only`.
    """

    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    subject: str | None = None
    role: str = "full"
    address: str = ""


class Streams(Protocol):
    """The caller's side of an attached connection: its input, and where output is sent."""

    async def accept(self, *, multiplexed: bool) -> None:
        """Accept the connection, once the request is validated. `multiplexed` keeps stdout and stderr apart."""

    async def read(self) -> bytes:
        """The next bytes from the caller, as they arrive; `b""` once it has closed its side."""

    async def write(self, stream: int, content: bytes) -> None:
        """Send output of stream 1 (stdout) or 2 (stderr); waits for a slow caller.

        Raises `ConnectionError` when the caller is gone.
        """


class Output(Protocol):
    """A response that is streamed item by item."""

    async def open(self) -> None:
        """Send the response headers now, before the first item is known."""

    async def write(self, item: Any) -> None:
        """Send one item; waits for a slow caller. Raises `ConnectionError` when the caller is gone."""


class Job(Generic[RequestT]):
    """One command. It is created by a route, run once by the engine, and remembered for a while.

    `streams` is set for jobs that attach, `output` for those with a streamed response, `body` for those that take a
    stream of bytes. Times are in seconds since the epoch, `None` until the transition has happened.
    """

    def __init__(
        self,
        name: str,
        request: RequestT,
        *,
        caller: Caller | None = None,
        streams: Streams | None = None,
        output: Output | None = None,
        body: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.name = name
        self.request = request
        self.caller = caller or Caller()
        self.streams = streams
        self.output = output
        self.body = body
        self.state = JobState.QUEUED
        self.queued_at = time.time()
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.error: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether it has succeeded, failed or been cancelled."""
        return self.ended_at is not None

    @property
    def wait_s(self) -> float:
        """How long it has been queued, so far or in total."""
        return (self.started_at or self.ended_at or time.time()) - self.queued_at

    @property
    def run_s(self) -> float:
        """How long it has run, so far or in total; 0 if it has not started."""
        return (self.ended_at or time.time()) - self.started_at if self.started_at else 0.0

    def require_streams(self) -> Streams:
        """Its streams. Raises `InvalidArgument` if the caller provided none."""
        return _required(self.streams, self.name, "attach to it")

    def require_output(self) -> Output:
        """Its output. Raises `InvalidArgument` if the caller provided none."""
        return _required(self.output, self.name, "give it an output")

    def require_body(self) -> AsyncIterator[bytes]:
        """Its body. Raises `InvalidArgument` if the caller provided none."""
        return _required(self.body, self.name, "give it a body")

    def started(self) -> None:
        """Record that the handler is running."""
        self.state, self.started_at = JobState.RUNNING, time.time()

    def finish(self, state: JobState, error: BaseException | None = None) -> None:
        """Record how it ended, and drop the references to its streams, output and body."""
        self.state, self.ended_at, self.error = state, time.time(), error
        self.streams = self.output = self.body = None


def _required(thing: ThingT | None, job: str, advice: str) -> ThingT:
    if thing is None:
        raise InvalidArgument(f"job {job} can't run like that: {advice}")
    return thing
