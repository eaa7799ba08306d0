"""The jobs for images."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sampan import models
from sampan.daemon import filters
from sampan.engine import Job, Output
from sampan.errdefs import DataLoss, InvalidArgument, SampanError
from sampan.images.image import Image
from sampan.images.progress import Throttle, step
from sampan.images.reference import Reference
from sampan.images.registry_config import RegistryAuth
from sampan.models import (
    ContainerConfig,
    DriverData,
    ImageInspect,
    ImageMetadata,
    ImageRemoved,
    ImageSummary,
    ImportImage,
    InspectImage,
    ListImages,
    LoadImages,
    PullImage,
    RemoveImage,
    RootFS,
    TagImage,
)

if TYPE_CHECKING:
    from sampan.daemon.daemon import Daemon
    from sampan.images.web_file import WebFile

_log = logging.getLogger(__name__)
_FILTERS = frozenset({"before", "dangling", "label", "reference", "since", "until"})


async def image_list(daemon: Daemon, job: Job[ListImages]) -> list[ImageSummary]:
    """The images that match the filters, newest first."""
    request = job.request
    wanted = filters.checked(request.filters, _FILTERS)
    found = [image for image in daemon.images.list() if _is_wanted(daemon, wanted, image)]
    newest_first = sorted(found, key=created_s, reverse=True)
    return [summary(daemon, image, shared_size=request.shared_size) for image in newest_first]


def summary(daemon: Daemon, image: Image, *, shared_size: bool) -> ImageSummary:
    """One line of a list."""
    return ImageSummary(
        id=image.id,
        created=int(created_s(image)),
        labels=_config(image).get("Labels"),
        repo_tags=list(image.references),
        repo_digests=list(image.repo_digests),
        shared_size=daemon.images.shared_bytes(image) if shared_size else -1,
        size=image.size_bytes,
        containers=len(daemon.image_users(image.id)),
    )


async def image_inspect(daemon: Daemon, job: Job[InspectImage]) -> ImageInspect:
    """One image."""
    image = daemon.images.get(job.request.name, platform=job.request.platform)
    document = image.config
    return ImageInspect(
        id=image.id,
        repo_tags=list(image.references),
        repo_digests=list(image.repo_digests),
        comment=document.get("comment") or _last_comment(document),
        created=image.created,
        author=document.get("author") or "",
        config=ContainerConfig.model_validate(_config(image)),
        architecture=document.get("architecture") or "",
        variant=document.get("variant") or "",
        os=document.get("os") or "linux",
        os_version=document.get("os.version") or "",
        size=image.size_bytes,
        graph_driver=DriverData(name=daemon.settings.storage_driver, data=None),
        root_fs=RootFS(type="layers", layers=list(document.get("rootfs", {}).get("diff_ids", ()))),
        metadata=ImageMetadata(last_tag_time=image.tagged_at or "0001-01-01T00:00:00Z"),
    )


async def image_pull(daemon: Daemon, job: Job[PullImage]) -> None:
    """Pull an image from its registry, with Docker's stream of progress."""
    request, output = job.request, job.require_output()
    reference = reference_of(request.reference, request.tag)
    image = await daemon.images.pull(
        reference,
        platform=request.platform,
        auth=credentials(request.auth) if request.auth else None,
        progress=output.write,
    )
    publish_image(daemon, "pull", image, id=reference.familiar, name=reference.familiar_name)


def credentials(auth: models.RegistryAuth) -> RegistryAuth:
    """Convert a client's credentials for the registry client."""
    return RegistryAuth(
        username=auth.username,
        password=auth.password,
        identity_token=auth.identity_token,
        registry_token=auth.registry_token,
        server=auth.server_address,
    )


async def image_load(daemon: Daemon, job: Job[LoadImages]) -> None:
    """Load images from an archive of `docker save` or an OCI layout."""
    output = job.require_output()
    with blaming_the_caller():
        images = await daemon.images.load(
            job.require_body(), progress=output.write, quiet=job.request.quiet, platforms=job.request.platforms
        )
    for image in images:
        publish_image(daemon, "load", image)


async def image_import(daemon: Daemon, job: Job[ImportImage]) -> None:
    """Create an image with one layer from an archive of a file system: the request's body, or a file on the web."""
    request, output = job.request, job.require_output()
    if request.source == "-":
        image = await _import(daemon, request, job.require_body(), request.source)
    else:
        async with daemon.images.web_file(request.source) as file:
            await output.write({"status": f"Downloading from {file.url}"})
            async with aclosing(_importing(file, output)) as body:
                image = await _import(daemon, request, body, file.url)
    await output.write({"status": str(image.id)})
    publish_image(daemon, "import", image)


async def _import(daemon: Daemon, request: ImportImage, body: AsyncIterator[bytes], source: str) -> Image:
    with blaming_the_caller():
        return await daemon.images.import_(
            body,
            reference=reference_of(request.reference, request.tag).tagged() if request.reference else None,
            changes=request.changes,
            message=request.message or f"Imported from {source}",
            platform=request.platform,
        )


async def _importing(file: WebFile, output: Output) -> AsyncGenerator[bytes, None]:
    """The bytes of `file`, while reporting progress."""
    received, throttle = 0, Throttle()
    async with aclosing(file.chunks()) as chunks:
        async for chunk in chunks:
            received += len(chunk)
            if received == file.size_bytes or throttle.ready():
                await output.write(step("", "Importing", received, file.size_bytes or 0))
            yield chunk


async def image_tag(daemon: Daemon, job: Job[TagImage]) -> None:
    """Give an image an additional name."""
    request = job.request
    image = daemon.images.get(request.name)
    reference = reference_of(request.repository, request.tag)
    if reference.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    await daemon.images.tag(image, reference.tagged())
    publish_image(daemon, "tag", image, name=reference.tagged().familiar)


async def image_remove(daemon: Daemon, job: Job[RemoveImage]) -> list[ImageRemoved]:
    """Remove a name from an image, and the image with its last name."""
    return await remove(daemon, job.request.name, force=job.request.force)


async def remove(daemon: Daemon, name: str, *, force: bool) -> list[ImageRemoved]:
    """As image_remove, for callers that remove several. Raises `NotFound`, `Conflict` with Docker's message."""
    image = daemon.images.get(name)
    removed = await daemon.images.remove(
        name,
        force=force,
        in_use=lambda one: daemon.image_users(one.id),
    )
    for one in removed:
        if one.untagged:
            publish_image(daemon, "untag", image)
        elif one.deleted == image.id:  # the others are layers
            daemon.events.publish("image", "delete", image.id, {"name": image.id})
    return [ImageRemoved(untagged=one.untagged or "", deleted=one.deleted or "") for one in removed]


async def remove_unused(daemon: Daemon, unused: Image) -> list[ImageRemoved]:
    """Remove an image by all of its names, so that it stays if somebody starts to use it in the meantime."""
    removed: list[ImageRemoved] = []
    for name in (*unused.references, *unused.repo_digests) or (unused.id,):
        try:
            removed += await remove(daemon, name, force=False)
        except SampanError as error:
            _log.info("image %s is not removed: %s", name, error)
    return removed


@contextmanager
def blaming_the_caller() -> Iterator[None]:
    """In this context, a broken archive in the request raises `InvalidArgument`."""
    try:
        yield
    except DataLoss as error:
        raise InvalidArgument(str(error)) from error


def publish_image(daemon: Daemon, action: str, image: Image, *, id: str = "", name: str = "") -> None:
    """Publish an event of an image.

    `id` and `name` default to the image's ID, for actions that are not about a name (moby
    daemon/images/image_events.go).
    """
    labels = _config(image).get("Labels") or {}
    daemon.events.publish("image", action, id or image.id, {**labels, "name": name or image.id})


def reference_of(name: str, tag: str) -> Reference:
    """Combine Docker's two parameters into one reference; the tag may be a digest."""
    if not tag:
        return Reference.parse(name)
    return Reference.parse(f"{name}@{tag}" if ":" in tag else f"{name}:{tag}")


def _config(image: Image) -> dict[str, Any]:
    return image.config.get("config") or {}


def _last_comment(document: dict[str, Any]) -> str:
    """The comment of the last step in its history: images committed from containers have it only there."""
    history = document.get("history") or [{}]
    return str(history[-1].get("comment", ""))


def created_s(image: Image) -> float:
    """When it was created, in seconds since the epoch; microseconds order images created in the same second."""
    return seconds_of(image.created)


def seconds_of(created: str) -> float:
    """RFC 3339, of any precision, as seconds since the epoch; 0 for an invalid time."""
    try:
        return datetime.fromisoformat(created).timestamp()
    except ValueError:
        return 0


def _is_wanted(daemon: Daemon, wanted: filters.Filters, image: Image) -> bool:
    created = created_s(image)
    before = [created_s(daemon.images.get(name)) for name in wanted.get("before", ())]
    since = [created_s(daemon.images.get(name)) for name in wanted.get("since", ())]
    return (
        filters.is_true(wanted, "dangling", image.is_dangling)
        and filters.matches_labels(wanted, _config(image).get("Labels"))
        and all(created < limit for limit in before)
        and all(created > limit for limit in since)
        and all(created < limit for limit in filters.times(wanted, "until"))
        and ("reference" not in wanted or any(_matches(pattern, image) for pattern in wanted["reference"]))
    )


def _matches(pattern: str, image: Image) -> bool:
    """Docker's rule: the pattern matches the name with or without the tag."""
    names = [*image.references, *image.repo_digests]
    return any(
        fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(Reference.parse(name).familiar_name, pattern)
        for name in names
    )
