"""`sampan exec`."""

from __future__ import annotations

from typing import Any

from sampan.cli.attached import checked_keys, stay
from sampan.cli.command import LIST, SWITCH, Command, Flag, Options
from sampan.cli.commands.each import segment
from sampan.cli.create.environment import environment
from sampan.cli.create.kinds import ENVIRONMENT
from sampan.cli.errors import CliError
from sampan.cli.session import Session
from sampan.cli.streaming import Attachment, check_tty
from sampan.cli.terminal import STDERR, STDOUT, size_of


def execute(session: Session, options: Options) -> int:
    """Run a command in a running container; its exit status is ours."""
    keys, tty, detach = checked_keys(session, options), options.on("tty"), options.on("detach")
    container = f"/containers/{segment(options.args[0])}"
    body = _config(options, keys)
    if not detach and tty and body["AttachStdin"]:
        # An unknown container is reported first, and nothing may be created without a terminal.
        session.client.call("GET", f"{container}/json")
        check_tty(stdin=True, tty=True)
    if tty:
        body["ConsoleSize"] = list(size_of(STDOUT))
    identity = session.client.call("POST", f"{container}/exec", body=body)["Id"]
    request = {"Detach": detach, "Tty": tty, **({"ConsoleSize": body["ConsoleSize"]} if tty else {})}
    if detach:
        session.client.call("POST", f"/exec/{identity}/start", body=request)
        return 0
    response = session.client.hijack(f"/exec/{identity}/start", body=request)
    attachment = Attachment(response, stdin=body["AttachStdin"], outputs=(STDOUT, STDERR), tty=tty, detach_keys=keys)
    if stay(session, f"/exec/{identity}", attachment, tty=tty):
        raise CliError("read escape sequence")
    return int(session.client.call("GET", f"/exec/{identity}/json")["ExitCode"] or 0)


def _config(options: Options, keys: str) -> dict[str, Any]:
    attach = not options.on("detach")
    try:
        variables = environment(options)
    except ValueError as error:
        raise CliError(str(error)) from None
    return {
        "User": options.text("user"),
        "Privileged": options.on("privileged"),
        "Tty": options.on("tty"),
        "AttachStdin": attach and options.on("interactive"),
        "AttachStdout": attach,
        "AttachStderr": attach,
        "DetachKeys": keys,
        "Env": variables or None,
        "WorkingDir": options.text("workdir"),
        "Cmd": options.args[1:],
    }


EXEC = Command(
    "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    "Execute a command in a running container",
    execute,
    (
        Flag("detach", "Detached mode: run command in the background", SWITCH, "d"),
        Flag("detach-keys", "Override the key sequence for detaching a container"),
        Flag("env", "Set environment variables", ENVIRONMENT, "e"),
        Flag("env-file", "Read in a file of environment variables", LIST),
        Flag("interactive", "Keep STDIN open even if not attached", SWITCH, "i"),
        Flag("privileged", "Give extended privileges to the command", SWITCH),
        Flag("tty", "Allocate a pseudo-TTY", SWITCH, "t"),
        Flag("user", 'Username or UID (format: "<name|uid>[:<group|gid>]")', short="u"),
        Flag("workdir", "Working directory inside the container", short="w"),
    ),
    least=2,
    most=None,
    interspersed=False,
)
