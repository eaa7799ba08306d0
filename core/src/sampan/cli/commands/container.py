"""The short commands on containers: stop, restart, pause, unpause, kill, rename, rm, wait, port."""

from __future__ import annotations

from typing import Any

from sampan.cli.command import NUMBER, SWITCH, Command, Flag, Options
from sampan.cli.commands.each import for_each, segment
from sampan.cli.errors import CliError, DaemonError
from sampan.cli.session import Session


def stop(session: Session, options: Options) -> int:
    """Stop each container and print its name."""
    return _end(session, options, "stop")


def restart(session: Session, options: Options) -> int:
    """Restart each container and print its name."""
    return _end(session, options, "restart")


def _end(session: Session, options: Options, verb: str) -> int:
    if options.changed("timeout") and options.changed("time"):
        raise CliError("conflicting options: cannot specify both --timeout and --time")
    timeout = next((options.number(name) for name in ("timeout", "time") if options.changed(name)), None)
    query = {"signal": options.text("signal"), "t": None if timeout is None else str(timeout)}
    return _post_each(session, options, verb, query)


def pause(session: Session, options: Options) -> int:
    """Pause each container and print its name."""
    return _post_each(session, options, "pause")


def unpause(session: Session, options: Options) -> int:
    """Unpause each container and print its name."""
    return _post_each(session, options, "unpause")


def _post_each(session: Session, options: Options, verb: str, query: dict[str, Any] | None = None) -> int:
    def one(name: str) -> str:
        session.client.call("POST", f"/containers/{segment(name)}/{verb}", query=query)
        return name

    return for_each(session, options.args, one)


def rename(session: Session, options: Options) -> None:
    """Rename a container."""
    old, new = options.args
    try:
        session.client.call("POST", f"/containers/{segment(old)}/rename", query={"name": new})
    except DaemonError as error:
        raise CliError(f"failed to rename container: {error}") from None


def kill(session: Session, options: Options) -> int:
    """Send each container a signal and print its name."""
    return _post_each(session, options, "kill", {"signal": options.text("signal") or "KILL"})


def remove(session: Session, options: Options) -> int:
    """Remove each container and print its name; with --force, a missing one is not a failure."""
    query = {"v": options.on("volumes"), "link": options.on("link"), "force": options.on("force")}

    def one(name: str) -> str:
        name = name.strip("/")
        if not name:
            raise CliError("Container name cannot be empty")
        try:
            session.client.call("DELETE", f"/containers/{segment(name)}", query=query)
        except DaemonError as error:
            if error.code != 404 or not options.on("force"):
                raise
            session.warn(str(error))
            return ""
        return name

    return for_each(session, options.args, one)


def wait(session: Session, options: Options) -> int:
    """Wait for each container in turn and print its exit status."""

    def one(name: str) -> str:
        answer = session.client.call("POST", f"/containers/{segment(name)}/wait")
        return str(answer["StatusCode"])

    return for_each(session, options.args, one)


_ENDING = (
    Flag("signal", "Signal to send to the container", short="s"),
    Flag("time", "Seconds to wait before killing the container", NUMBER, hidden=True),
    Flag("timeout", "Seconds to wait before killing the container", NUMBER, "t"),
)
STOP = Command(
    "stop [OPTIONS] CONTAINER [CONTAINER...]",
    "Stop one or more running containers",
    stop,
    _ENDING,
    least=1,
    most=None,
)
RESTART = Command(
    "restart [OPTIONS] CONTAINER [CONTAINER...]",
    "Restart one or more containers",
    restart,
    _ENDING,
    least=1,
    most=None,
)
PAUSE = Command(
    "pause CONTAINER [CONTAINER...]",
    "Pause all processes within one or more containers",
    pause,
    least=1,
    most=None,
)
UNPAUSE = Command(
    "unpause CONTAINER [CONTAINER...]",
    "Unpause all processes within one or more containers",
    unpause,
    least=1,
    most=None,
)
RENAME = Command("rename CONTAINER NEW_NAME", "Rename a container", rename, least=2, most=2)
KILL = Command(
    "kill [OPTIONS] CONTAINER [CONTAINER...]",
    "Kill one or more running containers",
    kill,
    (Flag("signal", "Signal to send to the container", short="s"),),
    least=1,
    most=None,
)
REMOVE = Command(
    "rm [OPTIONS] CONTAINER [CONTAINER...]",
    "Remove one or more containers",
    remove,
    (
        Flag("force", "Force the removal of a running container (uses SIGKILL)", SWITCH, "f"),
        Flag("link", "Remove the specified link", SWITCH, "l"),
        Flag("volumes", "Remove anonymous volumes associated with the container", SWITCH, "v"),
    ),
    least=1,
    most=None,
)
WAIT = Command(
    "wait CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    wait,
    least=1,
    most=None,
)
