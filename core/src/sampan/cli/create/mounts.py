"""`--mount`, `-v` and `--tmpfs`."""

from __future__ import annotations

import csv
import os
from typing import Any

from sampan.go_text import parse_size

_SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src")
_RECURSIVE = {
    "enabled": {},
    "disabled": {"NonRecursive": True},
    "writable": {"ReadOnlyNonRecursive": True},
    "readonly": {"ReadOnlyForceRecursive": True},
}
_OPTIONS_OF_TYPE = {
    "bind": "BindOptions",
    "volume": "VolumeOptions",
    "tmpfs": "TmpfsOptions",
    "image": "ImageOptions",
}


def mount_of(text: str) -> dict[str, Any]:
    """The API's mount for `type=bind,src=/a,dst=/b,readonly`. Raises `ValueError` with docker's message."""
    if not text.strip():
        raise ValueError("value is empty")
    mount: dict[str, Any] = {"Type": "volume"}
    for field in next(csv.reader([text.strip()], strict=True)):
        _apply(mount, field)
    _check(mount)
    return mount


def _apply(mount: dict[str, Any], field: str) -> None:
    key, equals, value = field.partition("=")
    if key.strip() != key:
        raise ValueError(f"invalid option '{key.strip()}' in '{field}': option should not have whitespace")
    if equals and not value.strip():
        raise ValueError(f"invalid value for '{key}': value is empty")
    if value != value.strip():
        raise ValueError(f"invalid value for '{key}' in '{field}': value should not have whitespace")
    key = key.lower()
    if not equals and key not in _SWITCHES:
        raise ValueError(f"invalid field '{field}' must be a key=value pair")
    if key.startswith("bind-"):
        mount.setdefault("BindOptions", {}).update(_bind_option(key, value if equals else "true"))
    elif key.startswith("volume-"):
        _apply_volume_option(mount.setdefault("VolumeOptions", {}), key, value if equals else "true")
    elif key.startswith("tmpfs-"):
        mount.setdefault("TmpfsOptions", {}).update(_tmpfs_option(key, value, field))
    elif key == "image-subpath":
        mount.setdefault("ImageOptions", {})["Subpath"] = value
    else:
        mount.update(_plain_option(key, value if equals else "true", field))


def _plain_option(key: str, value: str, field: str) -> dict[str, Any]:
    if key == "type":
        return {"Type": value.lower()}
    if key in ("source", "src"):
        return {"Source": absolute(value)}
    if key in ("target", "dst", "destination"):
        return {"Target": value}
    if key in ("readonly", "ro"):
        return {"ReadOnly": _switch(key, value)}
    if key == "consistency":
        return {"Consistency": value.lower()}
    raise ValueError(f"unknown option '{key}' in '{field}'")


def _bind_option(key: str, value: str) -> dict[str, Any]:
    if key == "bind-propagation":
        return {"Propagation": value.lower()}
    if key == "bind-nonrecursive":
        return {"NonRecursive": _switch(key, value)}
    if key == "bind-create-src":
        return {"CreateMountpoint": _switch(key, value)}
    if key == "bind-recursive":
        if value not in _RECURSIVE:
            raise ValueError(
                f'invalid value for {key}: {value} (must be "enabled", "disabled", "writable", or "readonly")'
            )
        return dict(_RECURSIVE[value])
    raise ValueError(f"unknown option '{key}' in '{key}={value}'")


def _apply_volume_option(options: dict[str, Any], key: str, value: str) -> None:
    name, _, rest = value.partition("=")
    if key == "volume-subpath":
        options["Subpath"] = value
    elif key == "volume-nocopy":
        options["NoCopy"] = _switch(key, value)
    elif key == "volume-label":
        options.setdefault("Labels", {})[name] = rest
    elif key == "volume-driver":
        options.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        options.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = rest
    else:
        raise ValueError(f"unknown option '{key}' in '{key}={value}'")


def _tmpfs_option(key: str, value: str, field: str) -> dict[str, int]:
    try:
        if key == "tmpfs-size":
            return {"SizeBytes": parse_size(value)}
        if key == "tmpfs-mode":
            return {"Mode": int(value, 8)}
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None
    raise ValueError(f"unknown option '{key}' in '{field}'")


def _switch(key: str, value: str) -> bool:
    if value not in ("1", "true", "0", "false"):
        raise ValueError(
            f"invalid value for '{key}': invalid boolean value (\"{value}\"): "
            'must be one of "true", "1", "false", or "0" (default "true")'
        )
    return value in ("1", "true")


def _check(mount: dict[str, Any]) -> None:
    if not mount["Type"]:
        raise ValueError("type is required")
    for kind, options in _OPTIONS_OF_TYPE.items():
        if options in mount and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
    bind = mount.get("BindOptions", {})
    if bind.get("ReadOnlyNonRecursive") and not mount.get("ReadOnly"):
        raise ValueError("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
    if bind.get("ReadOnlyForceRecursive"):
        if not mount.get("ReadOnly"):
            raise ValueError("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
        if bind.get("Propagation") != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
            )


def binds_and_volumes(specs: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The values of `-v` as the API's Binds (`source:target[:options]`) and Volumes (anonymous, by target)."""
    binds: list[str] = []
    volumes: dict[str, Any] = {}
    for spec in dict.fromkeys(specs):
        if not spec:
            raise ValueError("invalid empty volume spec")
        source, separator, rest = spec.partition(":")
        if not separator:
            volumes[spec] = {}
            continue
        if "" in spec.split(":"):
            raise ValueError(f"invalid spec: {spec}: empty section between colons")
        binds.append(f"{absolute(source)}:{rest}")
    return binds, volumes


def absolute(source: str) -> str:
    """Make a path that begins with a dot absolute, as docker does; anything else is left unchanged."""
    return os.path.abspath(source) if source.startswith(".") else source  # noqa: PTH100  # resolves no symlinks


def tmpfs_of(specs: list[str]) -> dict[str, str]:
    """The values of `--tmpfs` (`path[:options]`) by path."""
    return {path: options for path, _, options in (spec.partition(":") for spec in specs)}
