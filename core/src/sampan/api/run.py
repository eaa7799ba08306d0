"""Runs jobs for routes, and converts their results to responses."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Protocol

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sampan.api.accept import stream_form
from sampan.api.compat import dump_json
from sampan.api.protocol import BULK, CALLER, HIJACK
from sampan.api.streams import ChunkedStreams, HijackedStreams, OutputStream, TarStream, Upload
from sampan.api.versions import NEWEST, Version
from sampan.api.websocket import WebSocketStreams, handshake_key
from sampan.engine import Caller, Engine, Job
from sampan.errdefs import Conflict, InvalidArgument, NotFound, SampanError

_log = logging.getLogger(__name__)


class Runner:
    """Runs the jobs of one HTTP request. A dependency of routes, created by FastAPI."""

    def __init__(self, request: Request) -> None:
        extensions = request.scope.get("extensions", {})
        self._state: dict[str, Any] = request.scope["state"]
        self._hijack = extensions.get(HIJACK)
        self._bulk = extensions.get(BULK)
        self._headers = request.headers
        self._caller: Caller | None = extensions.get(CALLER)
        self.engine: Engine = request.app.state.engine
        self.version: Version = self._state.get("version", NEWEST)

    async def result(self, name: str, request: Any, status: int = 200) -> Response:
        """Run the job and return its result as JSON, or no body if it has none."""
        result = await self.value(name, request)
        return Response(status_code=status) if result is None else self.answer(result, status)

    async def value(self, name: str, request: Any) -> Any:
        """Run the job and return its result."""
        return await self.engine.run(self._job(name, request))

    def answer(self, result: Any, status: int = 200) -> Response:
        """A response with a model, or a list of models, in the client's version."""
        return Response(dump_json(result, self.version) + b"\n", status, media_type="application/json")

    def in_header(self, name: str, value: BaseModel) -> Response:
        """A response without a body, with a model in base64 in a header."""
        return Response(headers={name: b64encode(dump_json(value, self.version)).decode()})

    def output(
        self,
        name: str,
        request: Any,
        *,
        media_type: str = "application/json",
        has_body: bool = False,
        early_head: bool = True,
        breaks_off: bool = False,
    ) -> Response:
        """A response of JSON items, written by the job, which gets the request's body if `has_body`.

        Without `early_head`, the head is sent with the first item, so that an error before that is sent as a status.
        An error after the head is sent as another item; with `breaks_off`, the connection is aborted instead, for
        clients that would misread such an item.
        """
        make_sink = partial(
            OutputStream,
            self.version,
            media_type,
            has_body=has_body,
            bulk=self._bulk,
            early_head=early_head,
            breaks_off=breaks_off,
        )
        return _JobResponse(self.engine, self._job(name, request), make_sink)

    def stream_form(self, default: str) -> str:
        """The format in which the client accepts a stream of JSON objects."""
        return stream_form(self._headers.get("accept", ""), default)

    def logs(self, name: str, request: Any) -> Response:
        """A response of framed output, written by the job."""
        return _JobResponse(self.engine, self._job(name, request), partial(ChunkedStreams, self.version))

    def archive(self, name: str, request: Any, *, header: str = "") -> Response:
        """A response with a tar archive, written by the job; the model that it writes first goes into `header`."""
        return _JobResponse(self.engine, self._job(name, request), partial(TarStream, self.version, header))

    def upload(self, name: str, request: Any) -> Response:
        """Run the job with the request's body, and respond with 200 when it is done."""
        return _JobResponse(self.engine, self._job(name, request), Upload)

    def hijacked(self, name: str, request: Any) -> Response:
        """Run the job with its streams on the raw connection."""
        if self._hijack is None:
            raise InvalidArgument(f"{name} needs a connection that can be hijacked")
        job = self._job(name, request)
        streams = HijackedStreams(self._hijack, self.version, job.id)
        return _JobResponse(self.engine, job, lambda receive, send: streams)

    def web_socket(self, name: str, request: Any) -> Response:
        """Run the job with its streams on a WebSocket."""
        key = handshake_key(self._headers)
        if self._hijack is None:
            raise InvalidArgument(f"{name} needs a connection that can be hijacked")
        job = self._job(name, request)
        streams = WebSocketStreams(self._hijack, key, self.version, job.id)
        return _JobResponse(self.engine, job, lambda receive, send: streams)

    def _job(self, name: str, request: Any) -> Job[Any]:
        job = Job(name, request, caller=self._caller)
        self._state["job"] = job.id
        return job


class Sink(Protocol):
    """Where a job writes its own response."""

    @property
    def started(self) -> bool:
        """Whether the head has been sent: after that, errors can't be sent as an HTTP status."""

    @property
    def lost(self) -> bool:
        """Whether the client is gone."""

    def join(self, job: Job[Any]) -> None:
        """Give the job its streams."""

    async def gone(self) -> None:
        """Wait until the client is gone."""

    async def fail(self, message: str) -> None:
        """Report an error after the head."""

    async def finish(self) -> None:
        """Send remaining data, and end the response."""

    def abandon(self) -> None:
        """Stop without sending anything more."""


class _JobResponse(Response):
    """The response of a job that writes it itself. Errors raised before the head is sent become HTTP errors."""

    def __init__(self, engine: Engine, job: Job[Any], make_sink: Callable[[Receive, Send], Sink]) -> None:
        super().__init__()
        self._engine = engine
        self._job = job
        self._make_sink = make_sink

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sink = self._make_sink(receive, send)
        sink.join(self._job)
        try:
            async with self._cancelled_with_client(sink):
                await self._run(sink)
                await sink.finish()
        except ConnectionError:
            sink.abandon()
            if not sink.lost and not sink.started:
                raise
        except BaseException:
            sink.abandon()
            raise

    async def _run(self, sink: Sink) -> None:
        try:
            await self._engine.run(self._job)
        except ConnectionError:
            raise
        except Exception as error:  # after the head, it can only be reported as the last item
            if not sink.started:
                raise
            if not isinstance(error, SampanError):
                _log.exception("job %s %s", self._job.name, self._job.id)
            if not sink.lost:
                await sink.fail(str(error))

    @asynccontextmanager
    async def _cancelled_with_client(self, sink: Sink) -> AsyncIterator[None]:
        """Within the context, cancel the job when the client disconnects."""

        async def watch() -> None:
            await sink.gone()
            with suppress(NotFound, Conflict):  # it has ended, or is not cancellable
                self._engine.cancel(self._job.id)

        watcher = asyncio.create_task(watch(), name=f"client of job {self._job.name} {self._job.id}")
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
