"""`sampan inspect`, on its own and for each kind of object."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands.each import segment
from sampan.cli.commands.image import image_path
from sampan.cli.errors import CliError, ConnectionFailed, DaemonError
from sampan.cli.output import checked_template, render
from sampan.cli.session import Session

_Find = Callable[[Session, str, bool], Any]


def _container(session: Session, name: str, size: bool) -> Any:
    return session.client.call("GET", f"/containers/{segment(name)}/json", query={"size": size})


def _image(session: Session, name: str, _: bool) -> Any:
    return session.client.call("GET", f"/images/{image_path(name)}/json")


def _network(session: Session, name: str, verbose: bool) -> Any:
    return session.client.call("GET", f"/networks/{segment(name)}", query={"verbose": verbose})


def _volume(session: Session, name: str, _: bool) -> Any:
    return session.client.call("GET", f"/volumes/{segment(name)}")


def _plugin(session: Session, name: str, _: bool) -> Any:
    return session.client.call("GET", f"/plugins/{image_path(name)}/json")


_KINDS: dict[str, _Find] = {
    "container": _container,
    "image": _image,
    "network": _network,
    "volume": _volume,
    "plugin": _plugin,
}


def _anything(kind: str) -> _Find:
    """Search all kinds of objects, or the requested one."""

    def find(session: Session, name: str, size: bool) -> Any:
        for key, find_one in _KINDS.items():
            if kind not in ("", key):
                continue
            try:
                document = find_one(session, name, size if key == "container" else False)
            except DaemonError as error:
                if kind or not _is_elsewhere(error):
                    raise
                continue
            if size and key != "container":
                session.warn(f"WARNING: --size ignored for {key}")
            return document
        raise CliError(f"Error: No such object: {name}")

    return find


def _is_elsewhere(error: DaemonError) -> bool:
    """Whether, after this error, the object may be of another kind."""
    return error.code in (400, 404, 501)  # 400: a valid volume name may be an invalid image name


def inspect(session: Session, options: Options) -> None:
    """Print all details of containers, images, networks, volumes or plugins."""
    kind = options.text("type")
    if options.changed("type") and kind not in _KINDS:
        names = '", "'.join(_KINDS)
        raise CliError(f'unknown type: "{kind}": must be one of "{names}"')
    _print(session, options, _anything(kind), extra=options.on("size"))


def _command(find: _Find, usage: str, summary: str, *more: Flag) -> Command:
    def run(session: Session, options: Options) -> None:
        _print(session, options, find, extra=any(options.on(flag.name) for flag in more))

    return Command(usage, summary, run, (_FORMAT, *more), least=1, most=None)


def _print(session: Session, options: Options, find: _Find, *, extra: bool) -> None:
    template, documents, errors = options.text("format"), [], []
    if template:
        checked_template(template)
    for name in options.args:
        try:
            document = find(session, name, extra)
            documents.append(render(template, document) if template and template != "json" else document)
        except ConnectionFailed:
            raise
        except CliError as error:
            errors.append(str(error))
    if template and template != "json":
        session.say("\n".join(documents))
    elif template:
        session.say(json.dumps(documents, separators=(",", ":"), ensure_ascii=False))
    else:
        session.say(json.dumps(documents, indent=4, ensure_ascii=False))
    if errors:
        raise CliError("\n".join(errors))


_FORMAT = Flag("format", "Format output: json, or a Go template", short="f")
_SIZE = Flag("size", "Display total file sizes", SWITCH, "s")

INSPECT = Command(
    "inspect [OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on sampan objects",
    inspect,
    (
        _FORMAT,
        Flag("size", "Display total file sizes if the type is container", SWITCH, "s"),
        Flag("type", "Only inspect objects of the given type"),
    ),
    least=1,
    most=None,
)
CONTAINER = _command(
    _container,
    "inspect [OPTIONS] CONTAINER [CONTAINER...]",
    "Display detailed information on one or more containers",
    _SIZE,
)
IMAGE = _command(_image, "inspect [OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images")
NETWORK = _command(
    _network,
    "inspect [OPTIONS] NETWORK [NETWORK...]",
    "Display detailed information on one or more networks",
    Flag("verbose", "Verbose output for diagnostics", SWITCH, "v"),
)
VOLUME = _command(
    _volume, "inspect [OPTIONS] VOLUME [VOLUME...]", "Display detailed information on one or more volumes"
)
PLUGIN = _command(
    _plugin, "inspect [OPTIONS] PLUGIN [PLUGIN...]", "Display detailed information on one or more plugins"
)
