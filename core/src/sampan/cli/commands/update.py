"""`sampan update`: changes the limits and restart policy of containers."""

from __future__ import annotations

from typing import Any

from sampan.cli.command import LIST, NUMBER, Command, Flag, Options
from sampan.cli.commands.each import for_each, segment
from sampan.cli.create.body import beyond_docker, restart_policy
from sampan.cli.create.kinds import BYTES, CPUS, SMALL_NUMBER, SWAP_BYTES
from sampan.cli.errors import CliError
from sampan.cli.session import Session


def update(session: Session, options: Options) -> int:
    """Update each container and print its name, then the daemon's warnings."""
    if not any(options.changed(flag.name) for flag in FLAGS):
        raise CliError("you must provide one or more flags when using this command")
    body = _body(options)
    warnings: list[str] = []

    def one(name: str) -> str:
        answer = session.client.call("POST", f"/containers/{segment(name)}/update", body=body)
        warnings.extend(answer.get("Warnings") or [])
        return name

    status = for_each(session, options.args, one)
    for warning in warnings:
        session.say(warning)
    return status


def _body(options: Options) -> dict[str, Any]:
    try:
        policy = restart_policy(options.text("restart"))
    except ValueError as error:
        raise CliError(str(error)) from None
    return {
        **beyond_docker(options),
        "BlkioWeight": options.value("blkio-weight") or 0,
        "CpuPeriod": options.number("cpu-period"),
        "CpuQuota": options.number("cpu-quota"),
        "CpuRealtimePeriod": options.number("cpu-rt-period"),
        "CpuRealtimeRuntime": options.number("cpu-rt-runtime"),
        "CpuShares": options.number("cpu-shares"),
        "CpusetCpus": options.text("cpuset-cpus"),
        "CpusetMems": options.text("cpuset-mems"),
        "Memory": options.value("memory") or 0,
        "MemoryReservation": options.value("memory-reservation") or 0,
        "MemorySwap": options.value("memory-swap") or 0,
        "NanoCpus": options.value("cpus") or 0,
        "PidsLimit": options.number("pids-limit") or None,
        "RestartPolicy": policy,
    }


FLAGS = (
    Flag("blkio-weight", "Relative weight of block IO, 10 to 1000, or 0 for the default", SMALL_NUMBER),
    Flag("cgroup-conf", "Set a control file of cgroup v2, such as memory.high=512M", LIST),
    Flag("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period", NUMBER),
    Flag("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota", NUMBER),
    Flag("cpu-rt-period", "Limit the CPU real-time period in microseconds", NUMBER),
    Flag("cpu-rt-runtime", "Limit the CPU real-time runtime in microseconds", NUMBER),
    Flag("cpu-shares", "CPU shares (relative weight)", NUMBER, "c"),
    Flag("cpus", "Number of CPUs", CPUS),
    Flag("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag("cpuset-mems", "Memory nodes in which to allow execution (0-3, 0,1)"),
    Flag("memory", "Memory limit", BYTES, "m"),
    Flag("memory-reservation", "Memory soft limit", BYTES),
    Flag("memory-swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap", SWAP_BYTES),
    Flag("pids-limit", "Tune container pids limit (set -1 for unlimited)", NUMBER),
    Flag("psi-alert", "Report pressure as events, such as memory:some:150ms/1s", LIST),
    Flag("restart", "Restart policy to apply when a container exits"),
)
UPDATE = Command(
    "update [OPTIONS] CONTAINER [CONTAINER...]",
    "Update configuration of one or more containers",
    update,
    FLAGS,
    least=1,
    most=None,
)
