"""A container's files as a whole: diff, export, commit."""

from __future__ import annotations

import os

from sampan.cli.command import LIST, SWITCH, Command, Flag, Options
from sampan.cli.commands.each import segment
from sampan.cli.copying.paths import local_error
from sampan.cli.errors import CliError
from sampan.cli.reference import check_reference, split_reference
from sampan.cli.session import Session
from sampan.cli.terminal import STDOUT, is_terminal, write_all
from sampan.cli.whole_file import write_whole

_KINDS = ("C", "A", "D")


def diff(session: Session, options: Options) -> None:
    """Print the paths that differ from the image, each with the kind of change."""
    name = options.args[0]
    if not name:
        raise CliError("Container name cannot be empty")
    for change in session.client.call("GET", f"/containers/{segment(name)}/changes") or ():
        session.say(f"{_KINDS[change['Kind']]} {change['Path']}")


def export(session: Session, options: Options) -> None:
    """Write a tar of the container's files to a file or stdout."""
    output = options.text("output")
    if not output and is_terminal(STDOUT):
        raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    if output:
        _check_parent(output)
    response = session.client.request("GET", f"/containers/{segment(options.args[0])}/export")
    if output:
        write_whole(output, response.chunks())
        return
    for chunk in response.chunks():
        write_all(STDOUT, chunk)


def commit(session: Session, options: Options) -> None:
    """Create an image from the container, and print its ID."""
    reference = options.args[1] if len(options.args) > 1 else ""
    repository, tag, digest = split_reference(reference)
    if reference:
        try:
            check_reference(reference)
        except ValueError as error:
            raise CliError(str(error)) from None
    if digest:
        raise CliError("refusing to create a tag with a digest reference")
    query = {
        "container": options.args[0],
        "repo": repository,
        "tag": tag,
        "comment": options.text("message"),
        "author": options.text("author"),
        "changes": options.texts("change"),
        "pause": None if options.on("pause") else "0",
    }
    session.say(session.client.call("POST", "/commit", query=query)["Id"])


def _check_parent(path: str) -> None:
    parent = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120  # pathlib costs 8 ms of start
    try:
        os.stat(parent)  # noqa: PTH116
    except OSError as error:
        reason = local_error("stat", parent, error)
        raise CliError(f"failed to export container: invalid output path: {reason}") from None


COMMIT = Command(
    "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Create a new image from a container's changes",
    commit,
    (
        Flag("author", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")', short="a"),
        Flag("change", "Apply Dockerfile instruction to the created image", LIST, "c"),
        Flag("message", "Commit message", short="m"),
        Flag("pause", "Pause container during commit", SWITCH, "p", default=True),
    ),
    least=1,
    most=2,
)
DIFF = Command(
    "diff CONTAINER", "Inspect changes to files or directories on a container's filesystem", diff, least=1, most=1
)
EXPORT = Command(
    "export [OPTIONS] CONTAINER",
    "Export a container's filesystem as a tar archive",
    export,
    (Flag("output", "Write to a file, instead of STDOUT", short="o"),),
    least=1,
    most=1,
)
