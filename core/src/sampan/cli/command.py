"""Commands, their flags, and the parser, which parses a command line like docker's (Go's pflag).

Neither click (its import takes 40 ms, half of the startup budget) nor argparse (no `--flag=false`, other messages)
is suitable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.cli.errors import UsageError
from sampan.go_text import parse_bool

if TYPE_CHECKING:
    from sampan.cli.session import Session


class Kind(NamedTuple):
    """How a flag's text is converted to a value: `convert` may raise `ValueError`; `label` is its name in help."""

    label: str
    convert: Callable[[str], Any]
    repeated: bool = False


def _integer(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _filter(text: str) -> str:
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text


SWITCH = Kind("", parse_bool)
TEXT = Kind("string", str)
NUMBER = Kind("int", _integer)
LIST = Kind("list", str, repeated=True)
FILTER = Kind("filter", _filter, repeated=True)


class Flag(NamedTuple):
    """One flag. `default` is its value if it is not given (for a repeated flag, by default an empty list)."""

    name: str
    help: str
    kind: Kind = TEXT
    short: str = ""
    default: Any = None
    hidden: bool = False

    @property
    def initial(self) -> Any:
        """The value of the flag if it is not given."""
        if self.default is not None:
            return self.default
        if self.kind.repeated:
            return []
        return {SWITCH: False, TEXT: "", NUMBER: 0}.get(self.kind)


class Options:
    """A parsed command line: the flags' values by name, and the arguments."""

    def __init__(self, flags: tuple[Flag, ...]) -> None:
        self.args: list[str] = []
        self._values = {flag.name: flag.initial for flag in flags}
        self._changed: set[str] = set()

    def put(self, flag: Flag, value: Any) -> None:
        """Set a value from the command line; the values of a repeated flag are collected."""
        if flag.kind.repeated:
            value = [*self._values[flag.name], value]
        self._values[flag.name] = value
        self._changed.add(flag.name)

    def changed(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return name in self._changed

    def on(self, name: str) -> bool:
        """The value of a switch."""
        return bool(self._values[name])

    def text(self, name: str) -> str:
        """The value of a text flag."""
        return str(self._values[name])

    def number(self, name: str) -> int:
        """The value of an integer flag, 0 if it was not given and has no default."""
        return int(self._values[name] or 0)

    def texts(self, name: str) -> list[str]:
        """The values of a repeated flag."""
        return list(self._values[name])

    def value(self, name: str) -> Any:
        """The value of a flag of any other kind, `None` if it was not given."""
        return self._values[name]


class Command(NamedTuple):
    """A command. `usage` begins with its name; `run` executes it and returns the exit status (`None` means 0).

    `least` and `most` limit the number of arguments (`None` means no limit); if the switch `alone` is given, none is
    needed. With `interspersed`, flags may follow arguments.
    """

    usage: str
    summary: str
    run: Callable[[Session, Options], int | None]
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int | None = 0
    interspersed: bool = True
    alone: str = ""


class _Parser:
    """Parses one command line; `rest` is consumed from the front."""

    def __init__(self, flags: tuple[Flag, ...], argv: list[str]) -> None:
        self.options = Options(flags)
        self._long = {flag.name: flag for flag in flags}
        self._short = {flag.short: flag for flag in flags if flag.short}
        self.rest = list(argv)

    def parse(self, *, interspersed: bool) -> Options:
        while self.rest:
            word = self.rest.pop(0)
            if word == "--":
                break
            if word.startswith("--"):
                self._take_long(word)
            elif word.startswith("-") and word != "-":
                self._take_short(word)
            else:
                self.options.args.append(word)
                if not interspersed:
                    break
        self.options.args += self.rest
        return self.options

    def _take_long(self, word: str) -> None:
        name, equals, text = word[2:].partition("=")
        flag = self._long.get(name)
        if flag is None:
            raise UsageError(f"unknown flag: --{name}")
        if equals:
            self._put(flag, text)
        elif flag.kind is SWITCH:
            self.options.put(flag, True)
        elif self.rest:
            self._put(flag, self.rest.pop(0))
        else:
            raise UsageError(f"flag needs an argument: --{name}")

    def _take_short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self._short.get(letter)
            if flag is None:
                raise UsageError(f"unknown shorthand flag: {letter!r} in {word}")
            if letters.startswith("="):
                return self._put(flag, letters[1:])
            if flag.kind is SWITCH:
                self.options.put(flag, True)
            elif letters:
                return self._put(flag, letters)
            elif self.rest:
                return self._put(flag, self.rest.pop(0))
            else:
                raise UsageError(f"flag needs an argument: {letter!r} in {word}")
        return None

    def _put(self, flag: Flag, text: str) -> None:
        try:
            self.options.put(flag, flag.kind.convert(text))
        except ValueError as error:
            name = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
            raise UsageError(f'invalid argument "{text}" for "{name}" flag: {error}') from None


def parse_flags(flags: tuple[Flag, ...], argv: list[str], *, interspersed: bool) -> Options:
    """Parse `argv` (without the command's name). Raises `UsageError`."""
    return _Parser(flags, argv).parse(interspersed=interspersed)


def check_arity(command: Command, path: str, count: int) -> None:
    """Raise `UsageError` with docker's message unless the command accepts `count` arguments."""
    if count >= command.least and (command.most is None or count <= command.most):
        return
    if command.most == 0:
        wants = "accepts no arguments"
    elif command.least == command.most:
        wants = f"requires {command.least} argument{'s' * (command.least != 1)}"
    elif command.most is None:
        wants = f"requires at least {command.least} argument{'s' * (command.least != 1)}"
    else:
        wants = f"requires at least {command.least} and at most {command.most} arguments"
    raise UsageError(f"'{path}' {wants}", status=1, prefixed=True)
