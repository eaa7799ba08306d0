"""`sampan completion`: small shell scripts, which call `sampan __complete` for the candidates."""

from __future__ import annotations

from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands import GROUPS, TOP, Entry
from sampan.cli.errors import CliError
from sampan.cli.main import GLOBAL_FLAGS, load
from sampan.cli.session import Session

_SCRIPTS = {
    "bash": """\
_sampan() {
    local IFS=$'\\n'
    COMPREPLY=($(sampan __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _sampan sampan
""",
    "zsh": """\
#compdef sampan
_sampan() {
    local -a found
    found=("${(@f)$(sampan __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ -n "$found" ]] && compadd -- $found || _files
}
compdef _sampan sampan
""",
    "fish": """\
function __sampan_complete
    set -l words (commandline -opc) (commandline -ct)
    sampan __complete -- $words[2..-1] 2>/dev/null
end
complete -c sampan -a '(__sampan_complete)'
""",
}
_CONTAINER, _IMAGE, _VOLUME, _NETWORK = "CONTAINER", "IMAGE", "VOLUME", "NETWORK"
_RUNNING = frozenset(("attach", "exec", "kill", "pause", "port", "stats", "stop", "top", "unpause", "wait"))


def completion(session: Session, options: Options) -> None:
    """Print the completion script of a shell."""
    shell = options.args[0]
    if shell not in _SCRIPTS:
        raise CliError(f'unknown shell "{shell}": must be one of "bash", "zsh", "fish"')
    session.say(_SCRIPTS[shell].rstrip())


def complete(session: Session, options: Options) -> None:
    """Print the candidates for the last word."""
    *before, word = options.args or [""]
    for candidate in sorted(_candidates(session, before, word)):
        if candidate.startswith(word):
            session.say(candidate)


def _candidates(session: Session, before: list[str], word: str) -> set[str]:
    entry, rest = _entry(before)
    if isinstance(entry, set):
        return _flag_names(GLOBAL_FLAGS) if word.startswith("-") and not before else entry
    command = load(entry)
    if word.startswith("-"):
        return _flag_names(command.flags)
    if rest and _wants_value(command.flags, rest[-1]):
        return set()
    return _names(session, command, rest)


def _entry(before: list[str]) -> tuple[Entry | set[str], list[str]]:
    """The command named by the words and the words after it, or the words that could come next."""
    words = [word for at, word in enumerate(before) if not word.startswith("-") and not _is_value(before, at)]
    if not words:
        return TOP.keys() | GROUPS.keys(), []
    group = GROUPS.get(words[0])
    if group is None:
        return TOP.get(words[0], set()), before[before.index(words[0]) + 1 :]
    if len(words) == 1:
        return set(group.members), []
    member = group.aliases.get(words[1], words[1])
    return group.members.get(member, set()), before[before.index(words[1]) + 1 :]


def _is_value(before: list[str], at: int) -> bool:
    return at > 0 and _wants_value(GLOBAL_FLAGS, before[at - 1])


def _wants_value(flags: tuple[Flag, ...], word: str) -> bool:
    names = {f"--{flag.name}" for flag in flags if flag.kind is not SWITCH}
    return word in names | {f"-{flag.short}" for flag in flags if flag.short and flag.kind is not SWITCH}


def _flag_names(flags: tuple[Flag, ...]) -> set[str]:
    return {f"--{flag.name}" for flag in flags if not flag.hidden} | {"--help"}


def _names(session: Session, command: Command, rest: list[str]) -> set[str]:
    """The names of existing objects of the kind that the command's usage has at this position."""
    verb, *places = command.usage.partition("\n")[0].replace("[OPTIONS]", "").split()
    typed = [word for at, word in enumerate(rest) if not _is_flag(command.flags, rest, at)]
    kind = _kind(verb, places, len(typed))
    client = session.client
    if kind == _CONTAINER:
        containers = client.call("GET", "/containers/json", query={"all": verb not in _RUNNING})
        return {name.lstrip("/") for container in containers for name in container["Names"]}
    if kind == _IMAGE:
        return {tag for image in client.call("GET", "/images/json") for tag in image.get("RepoTags") or []}
    if kind == _VOLUME:
        return {volume["Name"] for volume in client.call("GET", "/volumes").get("Volumes") or []}
    if kind == _NETWORK:
        return {network["Name"] for network in client.call("GET", "/networks")}
    return set()


def _kind(verb: str, places: list[str], typed: int) -> str | None:
    """The kind of the next word by the command's usage; a last place with dots stands for all further words."""
    if places and "..." in places[-1]:
        place = places[min(typed, len(places) - 1)]
    else:
        place = places[typed] if typed < len(places) else ""
    if (verb == "create" and _IMAGE not in place) or verb == "cp":  # a new name, or paths, which the shell completes
        return None
    if "REPOSITORY" in place or (verb == "push" and "NAME" in place):
        return _IMAGE
    return next((kind for kind in (_CONTAINER, _IMAGE, _VOLUME, _NETWORK) if kind in place), None)


def _is_flag(flags: tuple[Flag, ...], words: list[str], at: int) -> bool:
    return words[at].startswith("-") or (at > 0 and _wants_value(flags, words[at - 1]))


COMPLETION = Command(
    "completion bash|zsh|fish", "Generate the completion script for a shell", completion, least=1, most=1
)
COMPLETE = Command("__complete -- WORD...", "Complete the last word", complete, most=None, interspersed=False)
