"""The prefix of each line of `docker logs --details`: labels, variables and the tag that the log options select.

Source: moby daemon/logger/loginfo.go (ExtraAttributes), loggerutils/log_tag.go, httputils/write_log_stream.go.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

from sampan.daemon.container import Record
from sampan.daemon.settings.log_options import pattern as regex
from sampan.errdefs import InvalidArgument

_PLACEHOLDER = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


def check_tag(template: str) -> None:
    """Raise `InvalidArgument` for a tag that is not a valid template."""
    _fill_in(template, dict.fromkeys(_FIELDS, str))


def details_of(record: Record) -> bytes:
    """The prefix of each line with `--details`: `key=value,…` and a space."""
    chosen = attributes_of(record)
    if tag := tag_of(record):
        chosen["tag"] = tag
    pairs = (f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(chosen.items()))
    return (",".join(pairs) + " ").encode()


def attributes_of(record: Record) -> dict[str, str]:
    """The labels and variables that the options select."""
    options = _options(record)
    environment = dict(entry.split("=", 1) for entry in record.config.env or () if "=" in entry)
    return {
        **_chosen(options.get("labels", ""), options.get("labels-regex", ""), record.config.labels or {}),
        **_chosen(options.get("env", ""), options.get("env-regex", ""), environment),
    }


def tag_of(record: Record, default: str = "") -> str:
    """The expanded tag; `default` is the template if no option gives one."""
    template = _options(record).get("tag", "") or default
    return _fill_in(template, {name: _value(record, field) for name, field in _FIELDS.items()})


def _options(record: Record) -> Mapping[str, str]:
    return record.host_config.log_config.config or {}


def _chosen(names: str, pattern: str, values: Mapping[str, str]) -> dict[str, str]:
    wanted = {name for name in names.split(",") if name in values}
    if pattern:
        expression = regex(pattern)
        wanted.update(name for name in values if expression.is_found_in(name))
    return {name: values[name] for name in wanted}


def _fill_in(template: str, values: Mapping[str, Callable[[], str]]) -> str:
    """Expand `template`. Of Go's template language, only fields such as `{{.Name}}` are supported."""
    for name in _PLACEHOLDER.findall(template):
        if name not in values:
            raise InvalidArgument(
                f'template: log-tag:1: executing "log-tag" at <.{name}>: can\'t evaluate field {name} in type '
                "*logger.Info"
            )
    if "{{" in _PLACEHOLDER.sub("", template):
        raise InvalidArgument(f"template: log-tag:1: only fields such as {{{{.Name}}}} can be named: {template}")
    return _PLACEHOLDER.sub(lambda match: values[match[1]](), template)


_FIELDS: Mapping[str, Callable[[Record], str]] = {
    "ID": lambda record: record.id[:12],
    "FullID": lambda record: record.id,
    "Name": lambda record: record.name,
    "Command": lambda record: " ".join(record.args),
    "ImageID": lambda record: record.image_id.removeprefix("sha256:")[:12],
    "ImageFullID": lambda record: record.image_id,
    "ImageName": lambda record: record.image_name,
    "DaemonName": lambda record: "docker",
    "Hostname": lambda record: socket.gethostname(),
}


def _value(record: Record, field: Callable[[Record], str]) -> Callable[[], str]:
    return lambda: field(record)
