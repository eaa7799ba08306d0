"""Dockerfile instructions that change an image's configuration, as in `docker import --change` and commit.

Source: Dockerfile reference; the set of instructions from moby daemon/builder/dockerfile/builder.go,
validCommitCommands; error messages from buildkit frontend/dockerfile/instructions.
"""

from __future__ import annotations

import copy
import json
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sampan.errdefs import InvalidArgument

Config: TypeAlias = dict[str, Any]

_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""")
_QUOTED = re.compile(r"""\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'""")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_VALUE_LENGTH = 32
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def apply_changes(changes: Sequence[str], base: Config | None = None) -> Config:
    """Apply `changes`, one or more instructions each, to the configuration `base`. Raises `InvalidArgument`."""
    config = {name: copy.deepcopy(value) for name, value in (base or {}).items() if value is not None}
    lines = _lines(changes)
    if _sets(lines, "entrypoint") and not _sets(lines, "cmd"):
        config.pop("Cmd", None)  # the old entrypoint's arguments
    for line in lines:
        name, _, rest = line.partition(" ")
        change = _CHANGES.get(name.lower())
        if change is None:
            raise InvalidArgument(f"{name.lower()} is not a valid change command")
        if not rest.strip():
            raise InvalidArgument(f"{name.upper()} requires at least one argument")
        change(config, rest.strip())
    return config


def _sets(lines: Sequence[str], name: str) -> bool:
    return any(line.partition(" ")[0].lower() == name for line in lines)


def _lines(changes: Sequence[str]) -> list[str]:
    """Logical lines: a trailing backslash joins the next line; comments and empty lines are dropped."""
    joined = re.sub(r"\\[ \t]*\n", "", "\n".join(changes))
    stripped = (line.strip().replace("\t", " ", 1) for line in joined.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _command(text: str) -> list[str]:
    """The exec form, if it is JSON; else the shell form."""
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            return [*_SHELL, text]
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return [*_SHELL, text]


def _change_cmd(config: Config, rest: str) -> None:
    config["Cmd"] = _command(rest)


def _change_entrypoint(config: Config, rest: str) -> None:
    config["Entrypoint"] = _command(rest)


def _change_env(config: Config, rest: str) -> None:
    env = {one.partition("=")[0]: one for one in config.get("Env", [])}
    for name, value in _pairs(rest, "ENV"):
        env[name] = f"{name}={value}"
    config["Env"] = list(env.values())


def _change_label(config: Config, rest: str) -> None:
    config.setdefault("Labels", {}).update(_pairs(rest, "LABEL"))


def _change_expose(config: Config, rest: str) -> None:
    ports = config.setdefault("ExposedPorts", {})
    for word in rest.split():
        found = _PORT.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not found or not 0 < first <= last <= 65535:
            raise InvalidArgument(f"invalid containerPort: {word}")
        for port in range(first, last + 1):
            ports[f"{port}/{(found[3] or 'tcp').lower()}"] = {}


def _change_user(config: Config, rest: str) -> None:
    if len(rest.split()) != 1:
        raise InvalidArgument("USER requires exactly one argument")
    config["User"] = rest


def _change_workdir(config: Config, rest: str) -> None:
    config["WorkingDir"] = posixpath.normpath(posixpath.join(config.get("WorkingDir") or "/", rest))


def _change_volume(config: Config, rest: str) -> None:
    words = json.loads(rest) if rest.startswith("[") and _is_json(rest) else rest.split()
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    config.setdefault("Volumes", {}).update((word.strip(), {}) for word in words)


def _change_stopsignal(config: Config, rest: str) -> None:
    if len(rest.split()) != 1:
        raise InvalidArgument("STOPSIGNAL requires exactly one argument")
    config["StopSignal"] = rest


def _change_onbuild(config: Config, rest: str) -> None:
    trigger = rest.partition(" ")[0].upper()
    if trigger == "ONBUILD":
        raise InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InvalidArgument(f"{trigger} isn't allowed as an ONBUILD trigger")
    config.setdefault("OnBuild", []).append(rest)


def _change_healthcheck(config: Config, rest: str) -> None:
    check: Config = {}
    while flag := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        _health_flag(check, flag[1], flag[2])
        rest = rest[flag.end() :]
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE":
        if command.strip() or check:
            raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind.upper() != "CMD" or not command.strip():
        raise InvalidArgument(f"Unknown type {json.dumps(kind)} in HEALTHCHECK (try CMD)")
    words = _command(command.strip())
    shell = words[: len(_SHELL)] == _SHELL and not command.strip().startswith("[")
    config["Healthcheck"] = {"Test": ["CMD-SHELL", words[-1]] if shell else ["CMD", *words], **check}


def _health_flag(check: Config, name: str, value: str) -> None:
    fields = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
    }
    if len(value) > _VALUE_LENGTH:
        raise InvalidArgument(f"HEALTHCHECK: bad flag --{name}")
    if name == "retries" and value.isdecimal():
        check["Retries"] = int(value)
    elif name in fields and "".join(found[0] for found in _DURATION.finditer(value)) == value:
        parts = _DURATION.findall(value)
        check[fields[name]] = int(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))
    else:
        raise InvalidArgument(f"HEALTHCHECK: bad flag --{name}={value}")


def _pairs(rest: str, instruction: str) -> list[tuple[str, str]]:
    """Parse `a=b c="d e"`, or the old form `a b c`, which is one name and one value."""
    words = _WORD.findall(rest)
    if not words or "=" not in words[0]:
        name, _, value = rest.partition(" ")
        if not value.strip():
            raise InvalidArgument(f"{instruction} must have two arguments")
        return [(name, value.strip())]
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InvalidArgument(
                f"Syntax error - can't find = in {json.dumps(word)}. Must be of the form: name=value"
            )
        if not name:
            raise InvalidArgument(f"{instruction} names can not be blank")
        pairs.append((_unquoted(name), _unquoted(value)))
    return pairs


def _unquoted(word: str) -> str:
    def plain(found: re.Match[str]) -> str:
        if found[1] is not None:
            return found[1]
        if found[2] is not None:
            return re.sub(r"\\([\"\\$])", r"\1", found[2])
        return found[3]

    return _QUOTED.sub(plain, word)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False


_CHANGES: dict[str, Callable[[Config, str], None]] = {
    "cmd": _change_cmd,
    "entrypoint": _change_entrypoint,
    "env": _change_env,
    "expose": _change_expose,
    "healthcheck": _change_healthcheck,
    "label": _change_label,
    "onbuild": _change_onbuild,
    "stopsignal": _change_stopsignal,
    "user": _change_user,
    "volume": _change_volume,
    "workdir": _change_workdir,
}
