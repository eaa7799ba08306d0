"""`sampan images`, `rmi` and `tag`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from sampan.cli import human
from sampan.cli.client.client import filters_of
from sampan.cli.command import FILTER, SWITCH, Command, Flag, Options
from sampan.cli.commands.ps import timestamp
from sampan.cli.errors import CliError, DaemonError
from sampan.cli.output import print_rows, short_id
from sampan.cli.reference import check_reference, familiar, split_reference
from sampan.cli.session import Session

HEADERS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}
_TABLE = "table {{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{.CreatedSince}}\\t{{.Size}}"
_TABLE_WITH_DIGEST = "table {{.Repository}}\\t{{.Tag}}\\t{{.Digest}}\\t{{.ID}}\\t{{.CreatedSince}}\\t{{.Size}}"
_NONE = "<none>"


def list_images(session: Session, options: Options) -> None:
    """Print the images, one line for each tag."""
    filters = filters_of(options.texts("filter"))
    if options.args:
        filters.setdefault("reference", []).append(options.args[0])
    template = _template(session, options)
    with_digests = options.on("digests") or ".Digest" in template or template == "json"
    images = session.client.call("GET", "/images/json", query={"all": options.on("all"), "filters": filters})
    short = not options.on("no-trunc")
    lines = [line for image in images for line in rows(image, short=short, with_digests=with_digests)]
    print_rows(lines, HEADERS, template)


def _template(session: Session, options: Options) -> str:
    template = options.text("format") or session.setting("imagesFormat") or "table"
    if options.on("quiet"):
        return "{{.ID}}"
    if template == "table":
        return _TABLE_WITH_DIGEST if options.on("digests") else _TABLE
    return template


def rows(image: dict[str, Any], *, short: bool, with_digests: bool) -> Iterator[dict[str, Any]]:
    """The rows of an image, one for each of its names."""
    common = {
        "ID": short_id(image["Id"]) if short else image["Id"],
        "CreatedSince": f"{human.ago(time.time() - image['Created'])} ago",
        "CreatedAt": timestamp(image["Created"]),
        "Size": human.size(image["Size"]),
        "Containers": _count(image.get("Containers", -1)),
        "SharedSize": _size(image.get("SharedSize", -1)),
        "UniqueSize": "N/A"
        if image.get("SharedSize", -1) == -1
        else human.size(image["Size"] - image["SharedSize"], 4),
        "VirtualSize": human.size(image["Size"], 4),
    }
    for name, tag, digest in _names(image, with_digests=with_digests):
        yield {**common, "Repository": name, "Tag": tag, "Digest": digest}


def _names(image: dict[str, Any], *, with_digests: bool) -> Iterator[tuple[str, str, str]]:
    """Name, tag and digest of each row of an image."""
    tags = [split_reference(text) for text in image.get("RepoTags") or [] if text != "<none>:<none>"]
    found = [split_reference(text) for text in image.get("RepoDigests") or [] if text != "<none>@<none>"]
    digests: dict[str, list[str]] = {}
    for name, _, digest in found:
        digests.setdefault(name, []).append(digest)
    if not tags and not digests:
        yield _NONE, _NONE, _NONE
    for name, tag, _ in tags:
        for digest in (digests.get(name) if with_digests else None) or [_NONE]:
            yield familiar(name), tag, digest
    for name in digests.keys() - {name for name, _, _ in tags}:
        for digest in digests[name] if with_digests else [_NONE]:
            yield familiar(name), _NONE, digest


def _count(number: int) -> str:
    return "N/A" if number == -1 else str(number)


def _size(number: int) -> str:
    return "N/A" if number == -1 else human.size(number, 4)


def remove(session: Session, options: Options) -> None:
    """Remove images or their names, and print what was removed; with --force, a missing one is not a failure."""
    query = {"force": options.on("force"), "noprune": options.on("no-prune")}
    errors, failed = [], False
    for name in options.args:
        try:
            removed = session.client.call("DELETE", f"/images/{image_path(name)}", query=query)
        except DaemonError as error:
            errors.append(str(error))
            failed = failed or error.code != 404 or not options.on("force")
            continue
        for item in removed:
            session.say(f"Deleted: {item['Deleted']}" if item.get("Deleted") else f"Untagged: {item['Untagged']}")
    if failed:
        raise CliError("\n".join(errors))
    for message in errors:
        session.warn(message)


def tag(session: Session, options: Options) -> None:
    """Give an image another name."""
    source, target = options.args
    try:
        check_reference(target)
    except ValueError as error:
        raise CliError(f'Error parsing reference: "{target}" is not a valid repository/tag: {error}') from None
    name, target_tag, digest = split_reference(target)
    if digest:
        raise CliError("refusing to create a tag with a digest reference")
    session.client.call(
        "POST", f"/images/{image_path(source)}/tag", query={"repo": name, "tag": target_tag or "latest"}
    )


def image_path(name: str) -> str:
    """An image's name quoted for a URL path, keeping its slashes."""
    return quote(name, safe="/:@")


LIST = Command(
    "images [OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    list_images,
    (
        Flag("all", "Show all images (default hides intermediate images)", SWITCH, "a"),
        Flag("digests", "Show digests", SWITCH),
        Flag("filter", "Filter output based on conditions provided", FILTER, "f"),
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("no-trunc", "Don't truncate output", SWITCH),
        Flag("quiet", "Only show image IDs", SWITCH, "q"),
    ),
    most=1,
)
REMOVE = Command(
    "rmi [OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    remove,
    (
        Flag("force", "Force removal of the image", SWITCH, "f"),
        Flag("no-prune", "Do not delete untagged parents", SWITCH),
    ),
    least=1,
    most=None,
)
TAG = Command(
    "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    tag,
    least=2,
    most=2,
)
