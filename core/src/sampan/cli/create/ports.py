"""`--publish` and `--expose`. Source: docker's go-connections/nat."""

from __future__ import annotations

import ipaddress

Bindings = dict[str, list[dict[str, str]]]


def port_bindings(specs: list[str]) -> Bindings:
    """The values of `-p` (`[[ip:]host:]container[/protocol]`, or ranges) by container port, such as `80/tcp`."""
    bindings: Bindings = {}
    for spec in specs:
        for port, binding in _bindings_of(_short_form(spec)):
            bindings.setdefault(port, []).append(binding)
    return bindings


def exposed_ports(specs: list[str]) -> list[str]:
    """The values of `--expose` (`80`, `80-90/udp`) as single ports."""
    ports = []
    for spec in specs:
        numbers, _, protocol = spec.partition("/")
        try:
            first, last = _range(numbers)
        except ValueError:
            raise ValueError(f"invalid range format for --expose: {spec}") from None
        _check_protocol(protocol)
        ports += [f"{port}/{protocol.lower() or 'tcp'}" for port in range(first, last + 1)]
    return ports


def _short_form(spec: str) -> str:
    """Convert `published=8080,target=80,protocol=udp` to `8080:80/udp`."""
    if "=" not in spec:
        return spec
    fields = {"protocol": "tcp", "published": "", "target": ""}
    for field in spec.split(","):
        name, equals, value = field.partition("=")
        if not equals or not name:
            raise ValueError(f"invalid publish opts format (should be name=value but got '{field}')")
        fields[name] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def _bindings_of(spec: str) -> list[tuple[str, dict[str, str]]]:
    head, _, protocol = spec.partition("/")
    *address_parts, host, container = ["", "", *head.split(":")]
    address = _address(":".join(address_parts[2:] if len(address_parts) > 2 else []))
    if len(head.split(":")) == 1:
        host, address = "", ""
    if not container:
        raise ValueError(f"no port specified: {spec}<empty>")
    first, last = _named_range(container, "containerPort")
    protocol = protocol.lower() or "tcp"
    _check_protocol(protocol)
    if not host:
        return [(f"{port}/{protocol}", {"HostIp": address, "HostPort": ""}) for port in range(first, last + 1)]
    host_first, host_last = _named_range(host, "hostPort")
    if last == first and host_last != host_first:
        # One container port and a range of host ports: the daemon chooses a free one.
        return [(f"{first}/{protocol}", {"HostIp": address, "HostPort": f"{host_first}-{host_last}"})]
    if last - first != host_last - host_first:
        raise ValueError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    return [
        (f"{port}/{protocol}", {"HostIp": address, "HostPort": str(host_first + port - first)})
        for port in range(first, last + 1)
    ]


def _address(text: str) -> str:
    text = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if text:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ValueError(f"invalid IP address: {text}") from None
    return text


def _named_range(text: str, name: str) -> tuple[int, int]:
    try:
        return _range(text)
    except ValueError:
        raise ValueError(f"invalid {name}: {text}") from None


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    first, last = int(low), int(high or low)
    if not 0 <= first <= last <= 65535:
        raise ValueError(f"invalid port range: {text}")
    return first, last


def _check_protocol(protocol: str) -> None:
    if protocol.lower() not in ("", "tcp", "udp", "sctp"):
        raise ValueError(f"invalid proto: {protocol}")
