"""`sampan pull` and `push`."""

from __future__ import annotations

import os

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands.image import image_path
from sampan.cli.credentials import Credentials, auth_header, registry_of
from sampan.cli.errors import CliError
from sampan.cli.progress import drain, show_progress
from sampan.cli.reference import check_reference, full_name, split_reference, with_default_tag
from sampan.cli.session import Session


def pull_image(
    session: Session, reference: str, *, platform: str, quiet: bool, output: int, every_tag: bool = False
) -> None:
    """Have the daemon pull an image, and show its progress on descriptor `output`."""
    name, tag, digest = split_reference(reference if every_tag else with_default_tag(reference))
    query = {"fromImage": name, "tag": digest or tag, "platform": platform}
    headers = auth_header(Credentials(session.options).get(registry_of(reference)))
    items = session.client.stream("POST", "/images/create", query=query, headers=headers)
    if quiet:
        drain(items)
    else:
        show_progress(items, output)


def pull(session: Session, options: Options) -> None:
    """Pull one image, or every tag of it, and print its full name."""
    reference, quiet, every_tag = options.args[0], options.on("quiet"), options.on("all-tags")
    try:
        check_reference(reference)
    except ValueError as error:
        raise CliError(str(error)) from None
    _, tag, digest = split_reference(reference)
    if every_tag and (tag or digest):
        raise CliError("tag can't be used with --all-tags/-a")
    if not (tag or digest or every_tag or quiet):
        session.say("Using default tag: latest")
    pull_image(session, reference, platform=options.text("platform"), quiet=quiet, output=1, every_tag=every_tag)
    session.say(full_name(reference if every_tag else with_default_tag(reference)))


def push(session: Session, options: Options) -> None:
    """Push one tag, or every tag of a repository."""
    reference, quiet, every_tag = options.args[0], options.on("quiet"), options.on("all-tags")
    try:
        check_reference(reference)
    except ValueError as error:
        raise CliError(str(error)) from None
    name, tag, digest = split_reference(reference)
    if digest:
        raise CliError("cannot push a digest reference")
    if every_tag and tag:
        raise CliError("tag can't be used with --all-tags/-a")
    if not (tag or every_tag):
        tag = "latest"
        if not quiet:
            session.say("Using default tag: latest")
    headers = auth_header(Credentials(session.options).get(registry_of(reference)))
    items = session.client.stream("POST", f"/images/{image_path(name)}/push", query={"tag": tag}, headers=headers)
    if quiet:
        drain(items)
        session.say(full_name(name if every_tag else f"{name}:{tag}"))
    else:
        show_progress((item for item in items if "aux" not in item), 1)


PUSH = Command(
    "push [OPTIONS] NAME[:TAG]",
    "Upload an image to a registry",
    push,
    (
        Flag("all-tags", "Push all tags of an image to the repository", SWITCH, "a"),
        Flag("disable-content-trust", "Accepted for compatibility", SWITCH, default=True, hidden=True),
        Flag("quiet", "Suppress verbose output", SWITCH, "q"),
    ),
    least=1,
    most=1,
)
PULL = Command(
    "pull [OPTIONS] NAME[:TAG|@DIGEST]",
    "Download an image from a registry",
    pull,
    (
        Flag("all-tags", "Download all tagged images in the repository", SWITCH, "a"),
        Flag("disable-content-trust", "Accepted for compatibility", SWITCH, default=True, hidden=True),
        Flag(
            "platform",
            "Set platform if server is multi-platform capable",
            default=os.environ.get("DOCKER_DEFAULT_PLATFORM"),
        ),
        Flag("quiet", "Suppress verbose output", SWITCH, "q"),
    ),
    least=1,
    most=1,
)
