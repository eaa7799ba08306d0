"""The body of `POST /containers/create` from the parsed flags. Raises `ValueError` with docker's message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sampan.cli.command import Options
from sampan.cli.create.environment import as_map, environment, labels
from sampan.cli.create.mounts import binds_and_volumes, tmpfs_of
from sampan.cli.create.networks import endpoints, network_mode
from sampan.cli.create.ports import exposed_ports, port_bindings
from sampan.cli.session import Session
from sampan.cli.terminal import size_of

_HEALTH_TIMES = {
    "health-interval": "Interval",
    "health-timeout": "Timeout",
    "health-start-period": "StartPeriod",
    "health-start-interval": "StartInterval",
}


def create_body(session: Session, options: Options) -> dict[str, Any]:
    """The complete body: the container's config, `HostConfig` and `NetworkingConfig`."""
    if options.on("rm") and options.text("restart") not in ("no", ""):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    bindings = port_bindings(options.texts("publish"))
    binds, volumes = binds_and_volumes(options.texts("volume"))
    exposed = [*bindings, *exposed_ports(options.texts("expose"))]
    config = _config(options)
    config["Volumes"] = volumes
    if exposed:
        config["ExposedPorts"] = {port: {} for port in exposed}
    host_config = _host_config(session, options) | _resources(options)
    host_config["Binds"] = binds or None
    host_config["PortBindings"] = bindings
    host_config["ConsoleSize"] = _console_size()
    return {**config, "HostConfig": host_config, "NetworkingConfig": {"EndpointsConfig": endpoints(options)}}


def _config(options: Options) -> dict[str, Any]:
    streams = options.texts("attach")
    stdin = options.on("interactive") or "stdin" in streams
    config: dict[str, Any] = {
        "Hostname": options.text("hostname"),
        "Domainname": options.text("domainname"),
        "User": options.text("user"),
        "AttachStdin": stdin,
        "AttachStdout": not streams or "stdout" in streams,
        "AttachStderr": not streams or "stderr" in streams,
        "Tty": options.on("tty"),
        "OpenStdin": options.on("interactive"),
        "StdinOnce": options.on("interactive"),
        "Env": environment(options) or None,
        "Cmd": options.args[1:] or None,
        "Image": options.args[0],
        "WorkingDir": options.text("workdir"),
        "Entrypoint": [options.text("entrypoint")] if options.changed("entrypoint") else None,
        "Labels": labels(options),
    }
    if health := _health(options):
        config["Healthcheck"] = health
    if options.text("stop-signal"):
        config["StopSignal"] = options.text("stop-signal")
    if options.changed("stop-timeout"):
        config["StopTimeout"] = options.number("stop-timeout")
    return config


def _host_config(session: Session, options: Options) -> dict[str, Any]:
    security, unconfined = _security(options.texts("security-opt"))
    config: dict[str, Any] = {
        "ContainerIDFile": options.text("cidfile"),
        "LogConfig": {"Type": options.text("log-driver"), "Config": _log_options(options)},
        "NetworkMode": network_mode(options),
        "RestartPolicy": restart_policy(options.text("restart")),
        "AutoRemove": options.on("rm"),
        "VolumeDriver": options.text("volume-driver"),
        "VolumesFrom": options.texts("volumes-from") or None,
        "CapAdd": options.texts("cap-add") or None,
        "CapDrop": options.texts("cap-drop") or None,
        "CgroupnsMode": _one_of(options, "cgroupns", "CGROUP", ("", "host", "private")),
        "Dns": options.texts("dns"),
        "DnsOptions": options.texts("dns-option") + options.texts("dns-opt"),
        "DnsSearch": options.texts("dns-search"),
        "ExtraHosts": options.texts("add-host") or None,
        "GroupAdd": options.texts("group-add") or None,
        "IpcMode": options.text("ipc"),
        "Isolation": options.text("isolation"),
        "Links": options.texts("link") or None,
        "OomScoreAdj": options.number("oom-score-adj"),
        "PidMode": _pid_mode(options.text("pid")),
        "Privileged": options.on("privileged"),
        "PublishAllPorts": options.on("publish-all"),
        "ReadonlyRootfs": options.on("read-only"),
        "SecurityOpt": security or None,
        "ShmSize": options.value("shm-size") or 0,
        "UTSMode": _one_of(options, "uts", "UTS", ("", "host")),
        "UsernsMode": _one_of(options, "userns", "USER", ("", "host")),
        "MaskedPaths": [] if unconfined else None,
        "ReadonlyPaths": [] if unconfined else None,
    }
    optional = {
        "Annotations": as_map(options.texts("annotation")),
        "Init": options.on("init") if options.changed("init") else None,
        "Mounts": [*options.value("mount"), *_api_socket(session, options)],
        "Runtime": options.text("runtime"),
        "StorageOpt": _storage_options(options.texts("storage-opt")),
        "Sysctls": as_map(options.texts("sysctl")),
        "Tmpfs": tmpfs_of(options.texts("tmpfs")),
    }
    return config | {name: value for name, value in optional.items() if value or value is False}


def beyond_docker(options: Options) -> dict[str, Any]:
    """Limits that only sampan's engine supports; omitted unless requested."""
    asked = {"Unified": as_map(options.texts("cgroup-conf")), "PsiAlerts": options.texts("psi-alert")}
    return {name: value for name, value in asked.items() if value}


def _resources(options: Options) -> dict[str, Any]:
    swappiness = options.number("memory-swappiness")
    if not -1 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    ulimits = {ulimit["Name"]: ulimit for ulimit in options.value("ulimit")}
    return {
        **beyond_docker(options),
        "BlkioDeviceReadBps": options.value("device-read-bps"),
        "BlkioDeviceReadIOps": options.value("device-read-iops"),
        "BlkioDeviceWriteBps": options.value("device-write-bps"),
        "BlkioDeviceWriteIOps": options.value("device-write-iops"),
        "BlkioWeight": options.number("blkio-weight"),
        "BlkioWeightDevice": options.value("blkio-weight-device"),
        "CgroupParent": options.text("cgroup-parent"),
        "CpuCount": options.number("cpu-count"),
        "CpuPercent": options.number("cpu-percent"),
        "CpuPeriod": options.number("cpu-period"),
        "CpuQuota": options.number("cpu-quota"),
        "CpuRealtimePeriod": options.number("cpu-rt-period"),
        "CpuRealtimeRuntime": options.number("cpu-rt-runtime"),
        "CpuShares": options.number("cpu-shares"),
        "CpusetCpus": options.text("cpuset-cpus"),
        "CpusetMems": options.text("cpuset-mems"),
        "DeviceCgroupRules": options.texts("device-cgroup-rule") or None,
        "DeviceRequests": options.value("gpus") or None,
        "Devices": [_device(text) for text in options.texts("device")],
        "IOMaximumBandwidth": options.value("io-maxbandwidth") or 0,
        "IOMaximumIOps": options.number("io-maxiops"),
        "Memory": options.value("memory") or 0,
        "MemoryReservation": options.value("memory-reservation") or 0,
        "MemorySwap": options.value("memory-swap") or 0,
        "MemorySwappiness": swappiness,
        "NanoCpus": options.value("cpus") or 0,
        "OomKillDisable": options.on("oom-kill-disable"),
        "PidsLimit": options.number("pids-limit"),
        "Ulimits": [ulimits[name] for name in sorted(ulimits)],
    }


def _api_socket(session: Session, options: Options) -> list[dict[str, Any]]:
    """A mount of the engine's socket at the path where docker's clients expect it."""
    if not options.on("use-api-socket"):
        return []
    scheme, _, path = session.host.partition("://")
    if scheme != "unix":
        raise ValueError(f"flag --use-api-socket needs an engine on a unix socket, not on {session.host}")
    return [{"Type": "bind", "Source": path, "Target": "/var/run/docker.sock", "BindOptions": {}}]


def _health(options: Options) -> dict[str, Any]:
    times = {field: options.value(flag) or 0 for flag, field in _HEALTH_TIMES.items()}
    retries, command = options.number("health-retries"), options.text("health-cmd")
    wanted = bool(command or retries or any(times.values()))
    if options.on("no-healthcheck"):
        if wanted:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for flag, field in _HEALTH_TIMES.items():
        if times[field] < 0:
            raise ValueError(f"--{flag} cannot be negative")
    if retries < 0:
        raise ValueError("--health-retries cannot be negative")
    health = {"Test": ["CMD-SHELL", command] if command else None, "Retries": retries, **times}
    return {name: value for name, value in health.items() if value} if wanted else {}


def restart_policy(text: str) -> dict[str, Any]:
    """Convert `on-failure:3` to the API's format. Raises `ValueError`; the name is checked by the daemon."""
    name, separator, count = text.partition(":")
    if separator and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    try:
        return {"Name": name, "MaximumRetryCount": int(count or 0)}
    except ValueError:
        raise ValueError("invalid restart policy format: maximum retry count must be an integer") from None


def _security(texts: list[str]) -> tuple[list[str], bool]:
    """The security options for the daemon, and whether `systempaths=unconfined` was among them."""
    checked = []
    for text in texts:
        name, separator, value = text.partition("=" if "=" in text else ":")
        if name != "no-new-privileges" and not (separator and value):
            raise ValueError(f'invalid --security-opt: "{text}"')
        if name == "seccomp" and value not in ("builtin", "unconfined"):
            text = f"seccomp={_profile(value)}"  # noqa: PLW2901  # the file's content replaces its name
        checked.append(text)
    unconfined = "systempaths=unconfined"
    return [text for text in checked if text != unconfined], unconfined in checked


def _profile(path: str) -> str:
    try:
        return json.dumps(json.loads(Path(path).read_bytes()), separators=(",", ":"))
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise ValueError(f"opening seccomp profile ({path}) failed: open {path}: {reason}") from None
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from None


def _log_options(options: Options) -> dict[str, str]:
    if options.text("log-driver") == "none" and options.texts("log-opt"):
        raise ValueError("invalid logging opts for driver none")
    return as_map(options.texts("log-opt"))


def _storage_options(texts: list[str]) -> dict[str, str]:
    if not all("=" in text for text in texts):
        raise ValueError("invalid storage option")
    return as_map(texts)


def _device(text: str) -> dict[str, str]:
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"bad format for path: {text}")
    source, target, permissions = parts[0], "", "rwm"
    if len(parts) == 3:
        target, permissions = parts[1:]
        if not _are_permissions(permissions):
            raise ValueError(f"bad mode specified: {permissions}")
    elif len(parts) == 2 and _are_permissions(parts[1]):
        permissions = parts[1]
    elif len(parts) == 2:
        target = parts[1]
    if not (target or source).startswith("/"):
        raise ValueError(f"{target or source} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": permissions}


def _are_permissions(text: str) -> bool:
    return 0 < len(text) == len(set(text)) and set(text) <= set("rwm")


def _pid_mode(text: str) -> str:
    if text not in ("", "host") and not (text.startswith("container:") and text != "container:"):
        raise ValueError("--pid: invalid PID mode")
    return text


def _one_of(options: Options, flag: str, name: str, allowed: tuple[str, ...]) -> str:
    if options.text(flag) not in allowed:
        raise ValueError(f"--{flag}: invalid {name} mode")
    return options.text(flag)


def _console_size() -> list[int]:
    return list(size_of(1))
