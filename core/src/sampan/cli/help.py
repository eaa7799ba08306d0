"""The output of `--help`, formatted as docker's."""

from __future__ import annotations

import shutil
import textwrap

from sampan.cli.command import NUMBER, SWITCH, TEXT, Command, Flag
from sampan.cli.commands import COMMANDS, COMMON, GROUPS, TOP, Entry, Group
from sampan.cli.errors import CliError
from sampan.cli.main import GLOBAL_FLAGS, load
from sampan.cli.plugins import plugin_commands
from sampan.cli.session import DEFAULT_HOST, PROGRAM
from sampan.cli.terminal import STDERR, write_text


def help_for(words: list[str]) -> str:
    """The help for the program, a group, or a command given as words. Raises `CliError` for an unknown one."""
    if not words:
        return _program_help()
    name, member = words[0], words[1] if len(words) > 1 else ""
    if name in GROUPS and not member:
        return _group_help(name, GROUPS[name])
    if name in GROUPS:
        member = GROUPS[name].aliases.get(member, member)
        if member in GROUPS[name].members:
            return command_help(load(GROUPS[name].members[member]), f"{PROGRAM} {name} {member}")
    elif name in TOP:
        return command_help(load(TOP[name]), f"{PROGRAM} {name}")
    elif command := plugin_commands(_warn).get(name):
        return command_help(command, f"{PROGRAM} {name}")
    raise CliError(f"unknown help topic: {' '.join(words)}")


def command_help(command: Command, path: str) -> str:
    """The help of one command, called as `path`."""
    usage = command.usage.partition(" ")[2]
    parts = [f"Usage:  {path} {usage}".rstrip(), command.summary]
    same = _same_as(path)
    if len(same) > 1:
        parts.append("Aliases:\n  " + ", ".join(same))
    shown = [flag for flag in command.flags if not flag.hidden]
    if shown:
        parts.append("Options:\n" + _flags(shown))
    return "\n\n".join(parts)


def _same_as(path: str) -> list[str]:
    """All names of a command: `container ls`, `container ps`, `ps`."""
    words = path.split()[1:]
    entry = TOP.get(words[0])
    if len(words) == 2:
        group = GROUPS[words[0]]
        entry = group.members[group.aliases.get(words[1], words[1])]
    ways = []
    for name, group in GROUPS.items():
        for member, other in group.members.items():
            if other is entry:
                spellings = [member, *(alias for alias, target in group.aliases.items() if target == member)]
                ways += [f"{PROGRAM} {name} {spelling}" for spelling in spellings]
    return ways + [f"{PROGRAM} {name}" for name, other in TOP.items() if other is entry]


def _program_help() -> str:
    plugins = {name: Entry("", "", command.summary) for name, command in plugin_commands(_warn).items()}
    groups = {name: Entry("", "", group.summary) for name, group in GROUPS.items()}
    parts = [
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND",
        "A container engine whose drivers are pip packages",
        "Common Commands:\n" + _entries(COMMON),
        "Management Commands:\n" + _entries(groups),
        "Commands:\n" + _entries(COMMANDS),
    ]
    if plugins:
        parts.append("Commands of Plugins:\n" + _entries(plugins))
    parts.append("Global Options:\n" + _flags([flag for flag in GLOBAL_FLAGS if not flag.hidden]))
    parts.append(f"The daemon is found by -H, else SAMPAN_HOST, else DOCKER_HOST, else {DEFAULT_HOST}.")
    parts.append(f"Run '{PROGRAM} COMMAND --help' for more information on a command.")
    return "\n\n".join(parts)


def _group_help(name: str, group: Group) -> str:
    return (
        f"Usage:  {PROGRAM} {name} COMMAND\n\n{group.summary}\n\nCommands:\n{_entries(group.members)}\n\n"
        f"Run '{PROGRAM} {name} COMMAND --help' for more information on a command."
    )


def _entries(entries: dict[str, Entry]) -> str:
    return "\n".join(f"  {name:<11} {entry.summary}" for name, entry in entries.items())


def _flags(flags: list[Flag]) -> str:
    heads = [_head(flag) for flag in flags]
    indent = max(map(len, heads)) + 3
    width = max(40, shutil.get_terminal_size().columns - 1)
    lines = []
    for flag, head in zip(flags, heads, strict=True):
        text = textwrap.wrap(flag.help + _default(flag), max(20, width - indent))
        lines.append(f"{head:<{indent}}{text[0]}")
        lines += [" " * indent + more for more in text[1:]]
    return "\n".join(lines)


def _head(flag: Flag) -> str:
    short = f"  -{flag.short}, " if flag.short else "      "
    return f"{short}--{flag.name} {flag.kind.label}".rstrip()


def _default(flag: Flag) -> str:
    if not flag.default or flag.default == [] or flag.kind not in (SWITCH, TEXT, NUMBER):
        return ""
    return f' (default "{flag.default}")' if flag.kind is TEXT else f" (default {str(flag.default).lower()})"


def _warn(text: str) -> None:
    write_text(STDERR, f"{text}\n")
