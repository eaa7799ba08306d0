"""What a container may do: security options, capabilities, devices, process limits, kernel parameters.

Source of rules and messages: moby daemon/daemon_unix.go (parseSecurityOpt), container.go (validateCapabilities),
devices.go, daemon/pkg/oci.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from sampan.errdefs import InvalidArgument
from sampan.go_text import parse_bool
from sampan.models import DeviceRequest, HostConfig
from sampan.runtime import device, rlimit, seccomp, sysctl
from sampan.runtime.capabilities import capability_set
from sampan.runtime.rlimit import Rlimit

_BARE = frozenset({"no-new-privileges", "writable-cgroups"})
_ACCESS = frozenset("rwm")


class SecurityOptions:
    """HostConfig.SecurityOpt, parsed. Raises `InvalidArgument` with Docker's message.

    `seccomp` is `default`, `unconfined` or a profile in JSON; if `writable_cgroups` is `None`, `Privileged` decides.
    """

    def __init__(self, options: Iterable[str]) -> None:
        self.no_new_privileges = False
        self.writable_cgroups: bool | None = None
        self.seccomp = "default"
        self.apparmor = ""
        self.system_paths = True
        for option in options:
            self._read(option)

    def _read(self, option: str) -> None:
        name, separator, value = option.partition("=" if "=" in option else ":")
        if option == "disable":  # of SELinux, which this engine does not use
            return
        if not separator and option not in _BARE:
            raise InvalidArgument(f"invalid --security-opt 1: {json.dumps(option)}")
        match name:
            case "no-new-privileges":
                self.no_new_privileges = not separator or _boolean(option, value)
            case "writable-cgroups":
                self.writable_cgroups = not separator or _boolean(option, value)
            case "seccomp":
                self.seccomp = "default" if value in ("builtin", "") else value
            case "apparmor":
                self.apparmor = value
            case "systempaths" if value == "unconfined":
                self.system_paths = False
            case "label":
                return
            case _:
                raise InvalidArgument(f"invalid --security-opt 2: {json.dumps(option)}")


def check_security(host: HostConfig) -> list[str]:
    """Raise `InvalidArgument` for what can't be granted; return a warning for each limit that had to be lowered."""
    _check_capabilities(host)
    options = SecurityOptions(host.security_opt or ())
    if options.seccomp not in ("default", "unconfined"):
        if not seccomp.supported():
            raise InvalidArgument("seccomp is not enabled in your kernel, cannot run a custom seccomp profile")
        seccomp.resolve(options.seccomp, frozenset())
    _check_devices(host)
    sysctl.check(
        host.sysctls or {},
        own_network=host.network_mode != "host",
        own_ipc=host.ipc_mode != "host",
        own_uts=host.uts_mode != "host",
    )
    return list(rlimit.clamp(rlimits(host))[1])


def rlimits(host: HostConfig) -> Iterable[Rlimit]:
    """The limits asked for the container's processes."""
    return [Rlimit(one.name, one.soft, one.hard) for one in host.ulimits or ()]


def _check_capabilities(host: HostConfig) -> None:
    for field, names in (("CapAdd", host.cap_add), ("CapDrop", host.cap_drop)):
        try:
            capability_set(names or (), (), privileged=False)
        except InvalidArgument as error:
            raise InvalidArgument(f"invalid {field}: {error}") from None


def _check_devices(host: HostConfig) -> None:
    for request in host.device_requests or ():
        raise InvalidArgument(_no_driver(request))
    for rule in host.device_cgroup_rules or ():
        device.parse_rule(rule)
    for mapping in host.devices or ():
        if not set(mapping.cgroup_permissions) <= _ACCESS:
            raise InvalidArgument(f"bad mode specified: {mapping.cgroup_permissions}")


def _no_driver(request: DeviceRequest) -> str:
    """The message when no driver is found; this engine has no device drivers. Go prints lists without commas."""
    capabilities = " ".join(f"[{' '.join(names)}]" for names in request.capabilities or ())
    return f'could not select device driver "{request.driver}" with capabilities: [{capabilities}]'


def _boolean(option: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise InvalidArgument(f"invalid --security-opt 2: {json.dumps(option)}") from None
