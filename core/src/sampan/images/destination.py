"""A repository to push to: finds missing blobs, uploads them, and finally the manifest.

Protocol: OCI distribution-spec, Push; distribution docs/spec/api.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import aiohttp
from yarl import URL

from sampan.digest import Digest
from sampan.errdefs import DataLoss, SampanError, SystemFailure
from sampan.images.channel import Channel
from sampan.images.fetch import retried
from sampan.images.interruption import Interrupted
from sampan.images.reference import Reference
from sampan.images.refusal import refusal
from sampan.images.transport import joined, number_in

_log = logging.getLogger(__name__)
_PIECE_BYTES = 1 << 20
_MONOLITHIC_BYTES = 1 << 20  # in one request, which can be sent again as a whole
_OCTETS = {"Content-Type": "application/octet-stream"}

Sent = Callable[[int], None]
"""Is called with the number of bytes of a blob that have been sent."""


class Destination:
    """One repository of one registry, with permission to write to it."""

    def __init__(self, channel: Channel, reference: Reference) -> None:
        self._channel = channel
        self._reference = reference
        self._scopes = (f"repository:{reference.path}:pull,push",)

    async def has(self, digest: Digest) -> bool:
        """Whether the blob exists there. Raises what `put_manifest` raises."""

        async def ask() -> bool:
            async with self._channel.request("HEAD", self._url(f"blobs/{digest}"), self._scopes) as response:
                if response.status in (200, 404):
                    return response.status == 200
                raise await self._refusal(response)

        return await retried(ask, self._channel.config)

    async def mount(self, digest: Digest, source: Reference) -> bool:
        """Ask the registry to take the blob from another of its repositories.

        Returns whether it did, as it need not.
        """
        url = self._url("blobs/uploads/").with_query({"mount": digest, "from": source.path})
        scopes = (*self._scopes, f"repository:{source.path}:pull")
        try:
            async with self._channel.request("POST", url, scopes) as response:
                if response.status == 202:  # it has started an upload instead, which will not be used
                    await self._abandon(self._location(response, url))
                return response.status == 201
        except SampanError as error:
            _log.debug("%s is not mounted from %s: %s", digest, source.name, error)
            return False

    async def send(self, blob: Path, digest: Digest, size_bytes: int, sent: Sent) -> None:
        """Upload a blob, continuing after interruptions. Raises what `put_manifest` raises."""
        upload = _Upload(self, blob, digest, size_bytes, sent)
        failures = 0
        while True:
            before = upload.offset
            try:
                return await upload.attempt()
            except Interrupted as error:
                failures = 1 if upload.offset > before else failures + 1
                if failures >= self._channel.config.attempts:
                    raise
                _log.info("upload of %s broke off: %s", digest, error)
            await asyncio.sleep(failures * self._channel.config.retry_delay_s)

    async def put_manifest(self, name: str, content: bytes, media_type: str) -> None:
        """Upload the manifest with its tag.

        Raises `NotFound`, `Unauthorized`, `Unavailable` with Docker's message, `Interrupted`, `SystemFailure`.
        """

        async def ask() -> None:
            url = self._url(f"manifests/{name}")
            headers = {"Content-Type": media_type}
            async with self._channel.request("PUT", url, self._scopes, headers=headers, content=content) as response:
                if response.status not in (200, 201, 202):
                    raise await self._refusal(response)

        await retried(ask, self._channel.config)

    def _url(self, what: str) -> URL:
        return self._channel.url(f"{self._reference.path}/{what}")

    def _location(self, response: aiohttp.ClientResponse, url: URL) -> URL:
        location = response.headers.get("Location", "")
        failure = SystemFailure(f"registry {self._channel.endpoint.url} did not say where to upload to")
        try:
            target = joined(url, location, encoded=True)
        except ValueError as error:
            raise failure from error
        if not location or target.scheme not in ("https", url.scheme):
            raise failure
        return target

    async def _refusal(self, response: aiohttp.ClientResponse) -> SampanError:
        return await refusal(response, self._reference, pushing=True)

    async def _abandon(self, location: URL) -> None:
        async with self._channel.request("DELETE", location, self._scopes):
            pass


class _Upload:
    """The upload of a blob."""

    def __init__(self, to: Destination, blob: Path, digest: Digest, size_bytes: int, sent: Sent) -> None:
        self._to = to
        self._channel = to._channel
        self._scopes = to._scopes
        self._blob = blob
        self._digest = digest
        self._size_bytes = size_bytes
        self._sent = sent
        self._location: URL | None = None
        self.offset = 0

    async def attempt(self) -> None:
        """Upload what is missing, and finish. Raises `Interrupted` on a network failure."""
        if self._location is not None:
            await self._find_offset(self._location)
        location = self._location or await self._begin()
        if self._size_bytes <= _MONOLITHIC_BYTES:
            content = await asyncio.to_thread(self._blob.read_bytes)
            return await self._finish(location, content)
        if self.offset < self._size_bytes:
            location = await self._send_rest(location)
        return await self._finish(location, b"")

    async def _begin(self) -> URL:
        url = self._to._url("blobs/uploads/")
        async with self._channel.request("POST", url, self._scopes) as response:
            if response.status != 202:
                raise await self._to._refusal(response)
            self._location, self.offset = self._to._location(response, url), 0
        return self._location

    async def _find_offset(self, location: URL) -> None:
        """Ask how much the registry has; if it does not know the upload, start again."""
        async with self._channel.request("GET", location, self._scopes) as response:
            last = number_in(response.headers.get("Range", "").rpartition("-")[2])
            if response.status != 204 or last is None or self._size_bytes <= _MONOLITHIC_BYTES:
                self._location, self.offset = None, 0
                return
            self.offset = last + 1 if last else 0  # "0-0" is what registries report for an empty upload
            self._location = self._to._location(response, location) if "Location" in response.headers else location

    async def _send_rest(self, location: URL) -> URL:
        headers = {
            **_OCTETS,
            "Content-Length": str(self._size_bytes - self.offset),
            "Content-Range": f"{self.offset}-{self._size_bytes - 1}",
        }
        with self._blob.open("rb") as file:
            pieces = _Pieces(self, file)
            async with self._channel.request(
                "PATCH", location, self._scopes, headers=headers, content=pieces
            ) as response:
                if response.status not in (202, 204):
                    raise await self._to._refusal(response)
                self._location, self.offset = self._to._location(response, location), self._size_bytes
        return self._location

    async def _finish(self, location: URL, content: bytes) -> None:
        url = location.extend_query({"digest": self._digest})
        async with self._channel.request("PUT", url, self._scopes, headers=_OCTETS, content=content) as response:
            if response.status not in (201, 204):
                raise await self._to._refusal(response)
        self._sent(self._size_bytes)


class _Pieces:
    """The remaining pieces of a blob, once.

    This is not a generator: when a connection breaks, aiohttp may still be waiting in it, and it could not be closed.
    """

    def __init__(self, upload: _Upload, file: BinaryIO) -> None:
        self._upload = upload
        self._file = file
        self._offset = upload.offset
        file.seek(self._offset)

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        if self._offset > self._upload.offset:
            self._upload._sent(self._offset)
        if self._offset == self._upload._size_bytes:
            raise StopAsyncIteration
        piece = await asyncio.to_thread(self._file.read, _PIECE_BYTES)
        if not piece:
            raise DataLoss(f"blob {self._upload._digest} has been cut short on the disk")
        self._offset += len(piece)
        return piece
