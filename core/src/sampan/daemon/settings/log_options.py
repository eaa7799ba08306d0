"""Log drivers and their options: which are accepted, and what they mean.

Source: moby daemon/logs.go, daemon/logger/factory.go (ValidateLogOpts) and the jsonfilelog and local drivers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sampan.daemon.regex import Regex
from sampan.errdefs import InvalidArgument
from sampan.go_text import DECIMAL, parse_bool, parse_size
from sampan.models import LogConfig
from sampan.runtime.log_files import LogLimits

NONE, JOURNALD = "none", "journald"
_MODE, _BUFFER = "mode", "max-buffer-size"
_CACHE = "cache-"
_ROTATION = ("max-size", "max-file", "compress")
_CACHE_OPTIONS = tuple(f"{_CACHE}{name}" for name in ("disabled", *_ROTATION))
_DETAILS = ("env", "env-regex", "labels", "labels-regex", "tag")


@dataclass(frozen=True)
class _Driver:
    """A log driver: the prefix of its rotation options, and the limits that apply without them."""

    title: str
    limits: LogLimits
    prefix: str = ""
    options: tuple[str, ...] = (*_ROTATION, *_DETAILS)


_DRIVERS = {
    "json-file": _Driver("json-file log driver", LogLimits(10_000_000, 3)),
    "local": _Driver("log driver local", LogLimits(20 * 1024 * 1024, 5)),
    JOURNALD: _Driver("journald log driver", LogLimits(20 * 1024 * 1024, 5), _CACHE, _DETAILS),
}
LOG_DRIVERS = tuple(sorted(_DRIVERS))
"""The drivers that store or forward what a container writes. In addition there is `none`."""
_NO_DRIVER = _Driver("", LogLimits())


def complete(asked: LogConfig, default: LogConfig) -> LogConfig:
    """What the user asked for, completed with the daemon's driver and, if that is the one used, with its options."""
    kind = asked.type or default.type
    options = dict(asked.config or {})
    if kind == default.type:
        options = {**(default.config or {}), **options}
    return LogConfig(type=kind, config=options)


def is_kept(config: LogConfig) -> bool:
    """Whether a container's output is kept in our own files."""
    return config.type in _DRIVERS


def check(config: LogConfig) -> None:
    """Raise `InvalidArgument` with Docker's message for an invalid driver or option. The tag is not checked."""
    options = config.config or {}
    if config.type == NONE:
        return
    _check_mode(options)
    _check_cache(options)
    driver = _DRIVERS.get(config.type)
    if driver is None:
        raise InvalidArgument(f"logger: no log driver named '{config.type}' is registered")
    for name in options:
        if name not in (*driver.options, *_CACHE_OPTIONS, _MODE, _BUFFER):
            raise InvalidArgument(f"unknown log opt '{name}' for {driver.title}")
    limits_of(config)
    for name in ("env-regex", "labels-regex"):
        if name in options:
            pattern(options[name])


def limits_of(config: LogConfig) -> LogLimits:
    """The maximum size of the log's files, and how many are kept. Raises `InvalidArgument`.

    Unlike in Docker, a log without options is limited. With a size but no number it is one file, as in Docker.
    """
    options = config.config or {}
    driver = _DRIVERS.get(config.type, _NO_DRIVER)
    default = driver.limits
    size, files, compress = (options.get(f"{driver.prefix}{name}") for name in _ROTATION)
    file_bytes = default.file_bytes if size is None else _size(size)
    count = (default.files if size is None else 1) if files is None else _number(files)
    if file_bytes is not None and file_bytes <= 0:
        raise InvalidArgument("max-size must be a positive number")
    if count < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    if _truth(compress or "false") and count == 1:
        raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
    return LogLimits(file_bytes, count)


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get(_MODE, "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if _BUFFER in options:
        if mode != "non-blocking":
            raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        try:
            parse_size(options[_BUFFER])
        except ValueError as error:
            raise InvalidArgument(f"error parsing option max-buffer-size: {error}") from None


def _check_cache(options: Mapping[str, str]) -> None:
    """Check Docker's cache options for unreadable drivers; here they limit the stored log of journald containers."""
    disabled = options.get(f"{_CACHE}disabled", "")
    try:
        parse_bool(disabled or "false")
    except ValueError:
        raise InvalidArgument(f"invalid value for option {_CACHE}disabled: {disabled}") from None


def _size(text: str) -> int:
    try:
        return parse_size(text, DECIMAL)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _truth(text: str) -> bool:
    try:
        return parse_bool(text)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None


def pattern(text: str) -> Regex:
    """The regular expression. Raises `InvalidArgument`."""
    try:
        return Regex(text)
    except ValueError as error:
        raise InvalidArgument(f"error parsing regexp: {error}") from None
