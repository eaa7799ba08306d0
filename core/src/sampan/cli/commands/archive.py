"""`sampan load`, `import` and `save`: images from and to tar archives."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from sampan.cli.client.client import document_of
from sampan.cli.command import LIST, SWITCH, Command, Flag, Options
from sampan.cli.errors import CliError
from sampan.cli.progress import drain, show_progress
from sampan.cli.reference import split_reference
from sampan.cli.session import Session
from sampan.cli.terminal import STDIN, STDOUT, is_terminal, write_all
from sampan.cli.whole_file import check_output, write_whole

_PIECE_BYTES = 256 * 1024
_OF_ARCHIVES = ("oci-layout", "manifest.json")


def load(session: Session, options: Options) -> None:
    """Load images from an archive, in a file or on stdin, or from a directory with an unpacked archive."""
    quiet = options.on("quiet") or not is_terminal(STDOUT)
    query = {"quiet": quiet, "platform": [_platform_json(text) for text in options.texts("platform")]}
    if not options.text("input") and is_terminal(STDIN):
        raise CliError("requested load from stdin, but stdin is empty")
    source = options.text("input")
    body = _unpacked(source) if _is_unpacked(source) else _content(source)
    response = session.client.request("POST", "/images/load", query=query, body=body)
    if response.head.headers.get("content-type", "").startswith("application/json"):
        show_progress(map(document_of, response.lines()), 1)
    else:
        write_all(STDOUT, response.read())


def save(session: Session, options: Options) -> None:
    """Write an archive of images to a file or stdout."""
    output = options.text("output")
    if output:
        check_output(output)
    elif is_terminal(STDOUT):
        raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    query = {"names": options.args, "platform": [_platform_json(text) for text in options.texts("platform")]}
    response = session.client.request("GET", "/images/get", query=query)
    if output:
        return write_whole(output, response.chunks())
    for chunk in response.chunks():
        write_all(STDOUT, chunk)
    return None


def import_image(session: Session, options: Options) -> None:
    """Create an image with one layer from a tar archive of a file system, and print its ID."""
    source, reference = options.args[0], (options.args[1] if len(options.args) > 1 else "")
    remote = source.startswith(("http://", "https://"))
    name, tag, _ = split_reference(reference)
    query = {
        "fromSrc": source if remote else "-",
        "repo": name,
        "tag": tag,
        "message": options.text("message"),
        "changes": options.texts("change"),
        "platform": options.text("platform"),
    }
    body = b"" if remote else _content("" if source == "-" else source)
    items = session.client.stream("POST", "/images/create", query=query, body=body)
    if is_terminal(STDOUT) or remote:
        show_progress(items, 1)
        return
    last = ""
    for item in items:
        drain([item])
        last = item.get("status", last)
    session.say(last)


def _content(path: str) -> Iterator[bytes]:
    """The bytes of a file, or of stdin for "", in pieces. Raises `CliError` immediately if it can't be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY) if path else os.dup(STDIN)
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or '').lower()}") from None
    if path and Path(path).is_dir():
        os.close(descriptor)
        raise CliError(f"read {path}: is a directory")
    return _pieces(descriptor)


def _is_unpacked(path: str) -> bool:
    """Whether it is a directory with an OCI layout or an unpacked archive."""
    return bool(path) and any(Path(path, name).is_file() for name in _OF_ARCHIVES)


def _unpacked(path: str) -> Iterator[bytes]:
    from sampan.cli.copying.pack import pack
    from sampan.cli.copying.paths import Place

    try:
        yield from pack(Place(f"{path}/.", is_directory=True), lambda name: name)
    except OSError as error:
        raise CliError(f"read {error.filename or path}: {(error.strerror or '').lower()}") from None


def _pieces(descriptor: int) -> Iterator[bytes]:
    try:
        while piece := os.read(descriptor, _PIECE_BYTES):
            yield piece
    finally:
        os.close(descriptor)


def _platform_json(text: str) -> str:
    system, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    fields = {"os": system, "architecture": architecture, "variant": variant}
    return json.dumps({name: value for name, value in fields.items() if value})


LOAD = Command(
    "load [OPTIONS]",
    "Load an image from a tar archive or STDIN",
    load,
    (
        Flag("input", "Read from tar archive file, or its unpacked directory, instead of STDIN", short="i"),
        Flag("platform", "Load only the given platform(s)", LIST),
        Flag("quiet", "Suppress the load output", SWITCH, "q"),
    ),
)
IMPORT = Command(
    "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
    import_image,
    (
        Flag("change", "Apply Dockerfile instruction to the created image", LIST, "c"),
        Flag("message", "Set commit message for imported image", short="m"),
        Flag("platform", "Set platform if server is multi-platform capable"),
    ),
    least=1,
    most=2,
)
SAVE = Command(
    "save [OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    save,
    (
        Flag("output", "Write to a file, instead of STDOUT", short="o"),
        Flag("platform", "Save only the given platform(s)", LIST),
    ),
    least=1,
    most=None,
)
