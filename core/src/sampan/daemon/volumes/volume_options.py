"""Options of the local volume driver: which are accepted, and the mount that results from them.

Source of rules and messages: moby daemon/volume/local/local_unix.go.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from sampan.drivers import Mount
from sampan.errdefs import InvalidArgument, SystemFailure
from sampan.syscalls.mount import mount_with_options, parse_options

_KNOWN = frozenset({"type", "device", "o", "size"})
_NEEDED = {"type": ("device",), "device": ("type",), "o": ("device", "type")}
_REMOTE = frozenset({"nfs", "nfs4", "cifs"})
_ADDRESS = re.compile(r"(?:^|,)addr=([^,]*)")
_UNKNOWN = (socket.EAI_NONAME, socket.EAI_NODATA)
_PASSWORD = re.compile(r"(^|,)password=[^,]*")


def check(name: str, options: Mapping[str, str]) -> None:
    """Raise `InvalidArgument` with Docker's message for unknown or missing options."""
    for option in options:
        if option not in _KNOWN:
            raise InvalidArgument(f'create {name}: invalid option: "{option}"')
    if "size" in options:
        raise InvalidArgument(f"create {name}: quota size requested but no quota support")
    for option, needed in _NEEDED.items():
        missing = [other for other in needed if option in options and other not in options]
        if missing:
            raise InvalidArgument(f'create {name}: missing required option: "{missing[0]}"')


def needs_mount(options: Mapping[str, str]) -> bool:
    """Whether the volume's content is a mount rather than its directory."""
    return bool(options.get("device") or options.get("type"))


def mount_volume(path: Path, options: Mapping[str, str]) -> None:
    """Mount the volume's content at `path`.

    Blocks; raises `SystemFailure` with the kernel's reason, without passwords.
    """
    try:
        wanted = _mount_of(options)
        mount_with_options(wanted.source, path, wanted.type, wanted.options)
    except SystemFailure as error:
        raise SystemFailure(f"error while mounting volume '{path}': {error}") from error
    except OSError as error:
        what = f"failed to mount local volume: mount {wanted.source}:{path}{_shown(wanted.options)}: {_reason(error)}"
        raise SystemFailure(f"error while mounting volume '{path}': {what}") from error


def _shown(options: tuple[str, ...]) -> str:
    """Flags and data as in moby's sys/mount when a mount fails."""
    flags, _, data = parse_options(options)
    hidden = _PASSWORD.sub(r"\1password=********", data)
    return (f", flags: {flags:#x}" if flags else "") + (f", data: {hidden}" if hidden else "")


def _mount_of(options: Mapping[str, str]) -> Mount:
    text = options.get("o", "")
    if options["type"] in _REMOTE and (match := _ADDRESS.search(text)):
        text = text.replace(f"addr={match[1]}", f"addr={_resolved(match[1])}", 1)
    return Mount(options["type"], options["device"], tuple(filter(None, text.split(","))))


def _resolved(host: str) -> str:
    """Resolve a host name, as the kernel accepts only addresses."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        reason = "no such host" if error.errno in _UNKNOWN else error.strerror
        raise SystemFailure(f"error resolving passed in network volume address: lookup {host}: {reason}") from error


def _reason(error: OSError) -> str:
    text = (error.strerror or "").rpartition(": ")[2]
    return text[:1].lower() + text[1:]
