"""A Job: one command on its way through the engine, with a typed request, its caller, its streams and its times."""

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
    """queued → running → succeeded | failed | cancelled; a queued job may also go straight to the last two."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Caller:
    """Who asks: the peer of the unix socket, or the subject of the TLS client's certificate.

    `role` is that of the listener: `full` or `read-only`.
    """

    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    subject: str | None = None
    role: str = "full"
    address: str = ""


class Streams(Protocol):
    """The caller's side of an attached connection: what it types, and where output goes."""

    async def accept(self, *, multiplexed: bool) -> None:
        """Say yes: the handler has validated the request. `multiplexed` tells stdout and stderr apart."""

    async def read(self) -> bytes:
        """What the caller sent, as it comes; `b""` once it has closed its side."""

    async def write(self, stream: int, content: bytes) -> None:
        """Send output of stream 1 (stdout) or 2 (stderr); waits for a slow caller.

        Raises `ConnectionError` when the caller is gone.
        """


class Output(Protocol):
    """A streamed answer of separate items."""

    async def open(self) -> None:
        """Send the answer's head now, before the first item is known."""

    async def write(self, item: Any) -> None:
        """Send one item; waits for a slow caller. Raises `ConnectionError` when the caller is gone."""


class Job(Generic[RequestT]):
    """One command. It is made by a route, run once by the engine, and remembered for a while.

    `streams` are there for jobs that attach, `output` for those that answer piece by piece, `body` for those
    that take a stream of bytes. Times are seconds of the wall clock, `None` until the change happened.
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
        """How long it was queued, so far or in all."""
        return (self.started_at or self.ended_at or time.time()) - self.queued_at

    @property
    def run_s(self) -> float:
        """How long it ran, so far or in all; 0 if it did not start."""
        return (self.ended_at or time.time()) - self.started_at if self.started_at else 0.0

    def require_streams(self) -> Streams:
        """Its streams. Raises `InvalidArgument` if the caller brought none."""
        return _required(self.streams, self.name, "attach to it")

    def require_output(self) -> Output:
        """Its output. Raises `InvalidArgument` if the caller brought none."""
        return _required(self.output, self.name, "give it an output")

    def require_body(self) -> AsyncIterator[bytes]:
        """Its body. Raises `InvalidArgument` if the caller brought none."""
        return _required(self.body, self.name, "give it a body")

    def started(self) -> None:
        """Note that the handler runs now."""
        self.state, self.started_at = JobState.RUNNING, time.time()

    def finish(self, state: JobState, error: BaseException | None = None) -> None:
        """Note how it ended, and let go of what it held."""
        self.state, self.ended_at, self.error = state, time.time(), error
        self.streams = self.output = self.body = None


def _required(thing: ThingT | None, job: str, advice: str) -> ThingT:
    if thing is None:
        raise InvalidArgument(f"job {job} can't run like that: {advice}")
    return thing
