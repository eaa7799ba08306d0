"""Commands added by installed packages through the hook `sampan_cli_command` (entry-point group `sampan`).

Looked up only for an unknown command and for `--help`, as finding the entry points takes 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.cli.command import Command

GROUP = "sampan"
HOOK = "sampan_cli_command"


def plugin_commands(warn: Callable[[str], None]) -> dict[str, Command]:
    """The commands of all installed packages, by name.

    A module's hook takes no arguments and returns one `Command` or a list of them. One that fails to import or
    returns anything else is left out, with a warning that names the package.
    """
    from importlib.metadata import entry_points

    commands: dict[str, Command] = {}
    for entry in entry_points(group=GROUP):
        source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        try:
            offered = _offered(entry.load())
        except Exception as error:  # a plugin's code may raise anything, and must not stop other commands
            warn(f"WARNING: commands of plugin {source} are left out: {error}")
            continue
        for command in offered:
            name = command.usage.partition(" ")[0]
            if name in commands:
                warn(f"WARNING: command {name!r} of plugin {source} is left out: another plugin has that name")
            commands.setdefault(name, command)
    return commands


def _offered(plugin: object) -> list[Command]:
    hook = getattr(plugin, HOOK, None)
    if hook is None:
        return []
    answer = hook()
    offered = answer if isinstance(answer, list) else [answer]
    for command in offered:
        if not isinstance(command, Command):
            raise TypeError(f"{HOOK} answered {command!r}, not a sampan.cli.command.Command")
    return offered
