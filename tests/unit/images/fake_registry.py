"""A registry on loopback that is honest until told to lie."""

import asyncio
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sampan.digest import Digest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Lie = Callable[[web.Request], web.StreamResponse | None]


def descriptor(content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def image_config(layers: Sequence[bytes], **more: Any) -> bytes:
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    return json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}
    ).encode()


@dataclass
class FakeRegistry:
    """`manifests` by tag or digest, `blobs` by digest; `requests` counts requests by name.

    `lies` maps path suffixes to functions that may answer instead. A blob in `held` is not sent before its event.
    `truncate` maps a blob's digest to the most bytes one response carries. `guard` may answer instead of the
    registry; `seen` records each request's method, path and `Authorization`. A blob in `owners` is only in the
    repositories listed there. The first upload to exceed `upload_bytes` has its connection aborted.
    """

    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    lies: dict[str, Lie] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    asked: dict[str, asyncio.Event] = field(default_factory=dict)
    truncate: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    host: str = ""
    guard: Lie | None = None
    streams: dict[str, Callable[[web.Request], Any]] = field(default_factory=dict)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    owners: dict[str, set[str]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    upload_bytes: int | None = None

    def push(self, tag: str, layers: Sequence[bytes], **config: Any) -> bytes:
        """Put an image there and answer its manifest."""
        document = image_config(layers, **config)
        blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(document, CONFIG),
                "layers": [descriptor(blob, LAYER) for blob in blobs],
            }
        ).encode()
        for blob in (document, *blobs):
            self.blobs[Digest.of(blob)] = blob
        self.put(tag, manifest)
        return manifest

    def put(self, tag: str, document: bytes, media_type: str = MANIFEST) -> None:
        self.manifests[tag] = self.manifests[Digest.of(document)] = (media_type, document)

    def layer_digest(self, layer: bytes) -> Digest:
        return Digest.of(gzip.compress(layer, 1, mtime=0))

    def application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        self.requests[name] += 1
        self.seen.append((request.method, request.path_qs, request.headers.get("Authorization")))
        for end, lie in self.lies.items():
            if request.path.endswith(end) and (answer := lie(request)) is not None:
                return answer
        for end, answer_at_length in self.streams.items():
            if request.path.endswith(end):
                return await answer_at_length(request)  # type: ignore[no-any-return]
        if self.guard and (refused := self.guard(request)) is not None:
            return refused
        if request.path == "/v2/":
            return web.json_response({})
        if request.path.endswith("/tags/list"):
            tags = [tag for tag in self.manifests if not tag.startswith("sha256:")]
            return web.json_response({"name": "x", "tags": tags})
        if "/blobs/uploads/" in request.path:
            return await self._upload(request)
        if "/manifests/" in request.path:
            return await self._take_manifest(request, name) if request.method == "PUT" else self._manifest(name)
        return await self._blob(request, name)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        repository, _, id = request.path.removeprefix("/v2/").partition("/blobs/uploads/")
        if request.method == "POST":
            return self._begin_upload(request, repository)
        content = self.uploads[id]
        if request.method in ("PATCH", "PUT"):
            async for chunk in request.content.iter_any():
                content += chunk
                if self.upload_bytes is not None and len(content) > self.upload_bytes and request.transport:
                    self.upload_bytes = None
                    request.transport.abort()
        if request.method != "PUT":
            headers = {"Location": f"/v2/{repository}/blobs/uploads/{id}", "Range": f"0-{max(len(content) - 1, 0)}"}
            return web.Response(status=202 if request.method == "PATCH" else 204, headers=headers)
        digest = Digest.of(bytes(content))
        if digest != request.query["digest"]:
            return refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs[digest] = bytes(content)
        self.owners.setdefault(digest, set()).add(repository)
        return web.Response(status=201, headers={"Docker-Content-Digest": digest})

    def _begin_upload(self, request: web.Request, repository: str) -> web.Response:
        digest, source = request.query.get("mount", ""), request.query.get("from", "")
        if source in self.owners.get(digest, ()):
            self.owners[digest].add(repository)
            return web.Response(status=201, headers={"Docker-Content-Digest": digest})
        id = str(len(self.uploads))
        self.uploads[id] = bytearray()
        return web.Response(status=202, headers={"Location": f"/v2/{repository}/blobs/uploads/{id}"})

    async def _take_manifest(self, request: web.Request, name: str) -> web.Response:
        content = await request.read()
        document = json.loads(content)
        for one in (document["config"], *document["layers"]):
            if one["digest"] not in self.blobs:
                return refusal(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
        self.put(name, content, request.content_type)
        return web.Response(status=201, headers={"Docker-Content-Digest": Digest.of(content)})

    def _manifest(self, name: str) -> web.Response:
        if name not in self.manifests:
            return refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, document = self.manifests[name]
        return web.Response(body=document, content_type=media_type)

    async def _blob(self, request: web.Request, name: str) -> web.StreamResponse:
        repository = request.path.removeprefix("/v2/").partition("/blobs/")[0]
        if name not in self.blobs or repository not in self.owners.get(name, {repository}):
            return refusal(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if name in self.asked:
            self.asked[name].set()
        if name in self.held:
            await self.held[name].wait()
        blob = self.blobs[name]
        start = request.http_range.start or 0 if self.ranges else 0
        headers = {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}"} if start else {}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(blob) - start
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        end = start + self.truncate.get(name, len(blob))
        await response.write(blob[start:end])
        if end < len(blob) and request.transport:
            request.transport.close()
        return response


def refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status)
