"""The kinds of flags that only `run` and `create` have. Conversions raise `ValueError` with docker's message."""

from __future__ import annotations

import ipaddress
import os
import re
from fractions import Fraction
from typing import Any

from sampan.cli.command import Kind
from sampan.cli.create.gpus import device_request
from sampan.cli.create.mounts import mount_of
from sampan.cli.create.networks import attachment_of
from sampan.cli.human import duration_ns
from sampan.go_text import parse_size

_SYSCTLS = (
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
)
_ULIMITS = (
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
)


def _stream(text: str) -> str:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def _swap_bytes(text: str) -> int:
    return -1 if text == "-1" else parse_size(text)


def _nano_cpus(text: str) -> int:
    try:
        nano = Fraction(text) * 10**9
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return nano.numerator


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text}") from None


def _search_domain(text: str) -> str:
    text = text.strip()
    if text == ".":
        return text
    plain = text.rstrip(".")
    if not plain or not all(letter.isalnum() or letter in "-_." for letter in plain):
        raise ValueError(f"{text} is not a valid domain")
    return text


def _environment(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    return f"{name}={os.environ[name]}" if not equals and name in os.environ else text


def _label(text: str) -> str:
    name = text.partition("=")[0].lstrip()
    if not name:
        raise ValueError(f"invalid label '{text}': empty name")
    if any(letter.isspace() for letter in name):
        raise ValueError(f"label '{name}' contains whitespaces")
    return text


def _link(text: str) -> str:
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def _extra_host(text: str) -> str:
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not found or not name or ":" in name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        address = address[1:-1] if address.startswith("[") and address.endswith("]") else address
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f'invalid IP address in add-host: "{address}"') from None
    return f"{name}:{address}"


def _sysctl(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not equals or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return text


def _ulimit(text: str) -> dict[str, Any]:
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    try:
        soft, hard = int(parts[0]), int(parts[-1])
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{limits}": invalid syntax') from None
    if hard != -1 and (soft > hard or soft == -1):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def _device_path(text: str) -> tuple[str, str]:
    path, separator, rest = text.partition(":")
    if not separator or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, rest


def _byte_rate(text: str) -> dict[str, Any]:
    path, rate = _device_path(text)
    try:
        return {"Path": path, "Rate": parse_size(rate)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None


def _operation_rate(text: str) -> dict[str, Any]:
    path, rate = _device_path(text)
    if not rate.isdigit():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(rate)}


def _device_weight(text: str) -> dict[str, Any]:
    path, weight = _device_path(text)
    if not weight.isdigit() or (int(weight) and not 10 <= int(weight) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(weight)}


def _device_rule(text: str) -> str:
    if not re.fullmatch(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}", text):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def _small_number(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 0xFFFF:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


ADDRESS = Kind("ip", _address)
ADDRESSES = Kind("list", _address, repeated=True)
BYTE_RATE = Kind("list", _byte_rate, repeated=True)
BYTES = Kind("bytes", parse_size)
CPUS = Kind("decimal", _nano_cpus)
DEVICE_RULE = Kind("list", _device_rule, repeated=True)
DEVICE_WEIGHT = Kind("list", _device_weight, repeated=True)
DURATION = Kind("duration", duration_ns)
ENVIRONMENT = Kind("list", _environment, repeated=True)
EXTRA_HOST = Kind("list", _extra_host, repeated=True)
GPUS = Kind("gpu-request", device_request, repeated=True)
LABEL = Kind("list", _label, repeated=True)
LINK = Kind("list", _link, repeated=True)
MAP = Kind("map", str, repeated=True)
MOUNT = Kind("mount", mount_of, repeated=True)
NETWORK = Kind("network", attachment_of, repeated=True)
OPERATION_RATE = Kind("list", _operation_rate, repeated=True)
SEARCH_DOMAIN = Kind("list", _search_domain, repeated=True)
SMALL_NUMBER = Kind("uint16", _small_number)
STREAM = Kind("list", _stream, repeated=True)
SWAP_BYTES = Kind("bytes", _swap_bytes)
SYSCTL = Kind("map", _sysctl, repeated=True)
ULIMIT = Kind("ulimit", _ulimit, repeated=True)
