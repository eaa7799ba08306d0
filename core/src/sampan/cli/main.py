"""The entry point: parses global flags, finds the command, and turns errors into messages and exit statuses."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sampan.cli.command import LIST, SWITCH, Command, Flag, check_arity, parse_flags
from sampan.cli.commands import GROUPS, HIDDEN, TOP, Entry, Group
from sampan.cli.errors import CliError, UsageError
from sampan.cli.session import PROGRAM, Session
from sampan.cli.terminal import STDERR, STDOUT, write_text

if TYPE_CHECKING:
    from types import ModuleType

GLOBAL_FLAGS = (
    Flag("config", "Location of client config files"),
    Flag("debug", "Enable debug mode", SWITCH, "D"),
    Flag("help", "Print usage", SWITCH, "h", hidden=True),
    Flag("host", "Daemon socket to connect to", LIST, "H"),
    Flag("log-level", 'Set the logging level ("debug", "info", "warn", "error", "fatal")', short="l", default="info"),
    Flag("tls", "Use TLS; implied by --tlsverify", SWITCH),
    Flag("tlscacert", "Trust certs signed only by this CA"),
    Flag("tlscert", "Path to TLS certificate file"),
    Flag("tlskey", "Path to TLS key file"),
    Flag("tlsverify", "Use TLS and verify the remote", SWITCH),
    Flag("version", "Print version information and quit", SWITCH, "v"),
)
HELP = Flag("help", "Print usage", SWITCH, hidden=True)


def main(argv: list[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit status."""
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except CliError as error:
        return _fail(str(error), error.status)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141  # our output is no longer read: 128 + SIGPIPE
    except ConnectionError as error:
        return _fail(f"error during connect: {error}", 1)


def _main(argv: list[str]) -> int:
    try:
        options = parse_flags(GLOBAL_FLAGS, argv, interspersed=False)
    except UsageError as error:
        return _misused(error, PROGRAM, "[OPTIONS] COMMAND [ARG...]")
    session = Session(options)
    if options.on("version"):
        from sampan import __version__

        session.say(f"{PROGRAM} version {__version__}")
        return 0
    if options.on("help") or not options.args:
        return _show_help(options.args)
    return _dispatch(session, options.args)


def _dispatch(session: Session, words: list[str]) -> int:
    name, rest = words[0], words[1:]
    if name == "help":
        return _show_help(rest)
    if name in GROUPS:
        return _dispatch_in(session, name, GROUPS[name], rest)
    if entry := TOP.get(name) or HIDDEN.get(name):
        return _run(session, load(entry), f"{PROGRAM} {name}", rest)
    from sampan.cli.plugins import plugin_commands

    command = plugin_commands(session.warn).get(name)
    if command is None:
        raise CliError(f"{PROGRAM}: unknown command: {PROGRAM} {name}\n\nRun '{PROGRAM} --help' for more information")
    return _run(session, command, f"{PROGRAM} {name}", rest)


def _dispatch_in(session: Session, name: str, group: Group, rest: list[str]) -> int:
    path = f"{PROGRAM} {name}"
    if not rest or rest[0] in ("--help", "-h", "help"):
        return _show_help([name])
    if rest[0].startswith("-"):
        return _misused(UsageError(f"unknown flag: {rest[0]}"), path, "COMMAND")
    member = group.aliases.get(rest[0], rest[0])
    if member not in group.members:
        raise CliError(
            f"{PROGRAM}: unknown command: {path} {rest[0]}\n\n"
            f"Usage:  {path}\n\nRun '{path} --help' for more information"
        )
    return _run(session, load(group.members[member]), f"{path} {rest[0]}", rest[1:])


def load(entry: Entry) -> Command:
    """Import the module of a command, so that only what it needs is loaded at start."""
    from importlib import import_module

    module: ModuleType = import_module(f"sampan.cli.commands.{entry.module}")
    command: Command = getattr(module, entry.attribute)
    return command


def _run(session: Session, command: Command, path: str, argv: list[str]) -> int:
    taken = {flag.short for flag in command.flags}
    flags = (*command.flags, HELP if "h" in taken else HELP._replace(short="h"))
    usage = command.usage.partition(" ")[2]
    try:
        options = parse_flags(flags, argv, interspersed=command.interspersed)
        if options.on("help"):
            from sampan.cli.help import command_help

            session.say(command_help(command, path))
            return 0
        if options.args or not (command.alone and options.on(command.alone)):
            check_arity(command, path, len(options.args))
    except UsageError as error:
        return _misused(error, path, usage)
    return command.run(session, options) or 0


def _show_help(words: list[str]) -> int:
    from sampan.cli.help import help_for

    write_text(STDOUT, f"{help_for(words)}\n")
    return 0


def _misused(error: UsageError, path: str, usage: str) -> int:
    prefix = f"{PROGRAM}: " if error.prefixed else ""
    text = f"{prefix}{error}\n\nUsage:  {path} {usage}".rstrip()
    return _fail(f"{text}\n\nRun '{path} --help' for more information", error.status)


def _fail(message: str, status: int) -> int:
    if message:
        write_text(STDERR, f"{message}\n")
    return status
