"""`sampan system df`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.cli import human
from sampan.cli.command import SWITCH, Command, Flag, Options
from sampan.cli.commands import image, ps, volume
from sampan.cli.output import print_rows, render
from sampan.cli.session import Session

Document = dict[str, Any]

HEADERS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_TABLE = "table {{.Type}}\\t{{.TotalCount}}\\t{{.Active}}\\t{{.Size}}\\t{{.Reclaimable}}"
_KINDS = {
    "Images": "ImageUsage",
    "Containers": "ContainerUsage",
    "Local Volumes": "VolumeUsage",
    "Build Cache": "BuildCacheUsage",
    "Container Logs": "SampanLogUsage",
}
_IMAGES = (
    "table {{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{.CreatedSince}}\\t{{.Size}}\\t{{.SharedSize}}\\t{{.UniqueSize}}"
    "\\t{{.Containers}}"
)
_CONTAINERS = (
    "table {{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.LocalVolumes}}\\t{{.Size}}\\t{{.RunningFor}}\\t{{.Status}}"
    "\\t{{.Names}}"
)
_VOLUMES = "table {{.Name}}\\t{{.Links}}\\t{{.Size}}"
_CACHE = (
    "table {{.ID}}\\t{{.CacheType}}\\t{{.Size}}\\t{{.CreatedSince}}\\t{{.LastUsedSince}}\\t{{.UsageCount}}"
    "\\t{{.Shared}}"
)
_CACHE_HEADERS = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}
_LOGS = "table {{.ID}}\\t{{.Name}}\\t{{.Size}}"
_LOG_HEADERS = {"ID": "CONTAINER ID", "Name": "NAME", "Size": "SIZE"}


def df(session: Session, options: Options) -> None:
    """Print disk usage by kind or, with `--verbose`, for each object."""
    verbose = options.on("verbose")
    usage = _usages(session.client.call("GET", "/system/df", query={"verbose": verbose}))
    template = options.text("format") or "table"
    if not verbose:
        print_rows(list(_rows(usage)), HEADERS, _TABLE if template == "table" else template)
    elif template == "table":
        _print_things(session, usage)
    else:
        session.say(render(template, _things(usage)))


def _usages(answer: Document) -> Document:
    """The response in the format of API 1.52, with totals for each kind, which older clients computed themselves."""
    if "ImageUsage" in answer:
        return answer
    images, containers = answer.get("Images") or [], answer.get("Containers") or []
    total = answer.get("LayersSize") or 0
    used = sum(one["Size"] - one["SharedSize"] for one in images if one["Containers"] > 0 and one["SharedSize"] != -1)
    in_use = {one["Id"] for one in containers if one["State"] in ("running", "paused", "restarting")}
    return {
        **answer,
        "ImageUsage": _sums(images, sum(one["Containers"] > 0 for one in images), total, total - used),
        "ContainerUsage": _sums(
            containers,
            len(in_use),
            sum(one.get("SizeRw") or 0 for one in containers),
            sum(one.get("SizeRw") or 0 for one in containers if one["Id"] not in in_use),
        ),
        "VolumeUsage": _volume_sums(answer.get("Volumes") or []),
        "BuildCacheUsage": _sums(answer.get("BuildCache") or [], 0, 0, 0),
    }


def _volume_sums(volumes: list[Document]) -> Document:
    usages = [one["UsageData"] for one in volumes if (one.get("UsageData") or {}).get("Size", -1) != -1]
    used = sum(usage["RefCount"] > 0 for usage in usages)
    free = sum(usage["Size"] for usage in usages if usage["RefCount"] == 0)
    return _sums(volumes, used, sum(usage["Size"] for usage in usages), free)


def _sums(items: list[Document], active: int, total: int, reclaimable: int) -> Document:
    counts = {"TotalCount": len(items), "ActiveCount": active}
    return {"Items": items, **counts, "TotalSize": total, "Reclaimable": reclaimable}


def _rows(usage: Document) -> Iterator[dict[str, Any]]:
    for kind, field in _KINDS.items():
        sums = usage.get(field)
        if sums is None:
            continue
        total, reclaimable = sums.get("TotalSize", 0), sums.get("Reclaimable", 0)
        share = f" ({reclaimable * 100 // total}%)" if total and kind != "Build Cache" else ""
        yield {
            "Type": kind,
            "TotalCount": str(sums.get("TotalCount", 0)),
            "Active": str(sums.get("ActiveCount", 0)),
            "Size": human.size(total, 4),
            "Reclaimable": f"{human.size(reclaimable, 4)}{share}",
        }


def _things(usage: Document) -> dict[str, list[dict[str, Any]]]:
    def items(field: str) -> list[dict[str, Any]]:
        return (usage.get(field) or {}).get("Items") or []

    return {
        "Images": [_image(one) for one in items("ImageUsage")],
        "Containers": [ps.row({**one, "SizeRootFs": 0}, short=True) for one in items("ContainerUsage")],
        "Volumes": [volume.row(one) for one in items("VolumeUsage")],
        "BuildCache": [],
        "Logs": [
            {"ID": one["Id"][:12], "Name": one["Name"], "Size": human.size(one["Size"])}
            for one in items("SampanLogUsage")
        ],
    }


def _image(one: dict[str, Any]) -> dict[str, Any]:
    """The row of an image, with only its first name."""
    return next(iter(image.rows(one, short=True, with_digests=False)))


def _print_things(session: Session, usage: Document) -> None:
    things = _things(usage)
    cache = human.size((usage.get("BuildCacheUsage") or {}).get("TotalSize", 0), 4)
    for title, name, headers, template in (
        ("Images space usage:", "Images", image.HEADERS, _IMAGES),
        ("\nContainers space usage:", "Containers", ps.HEADERS, _CONTAINERS),
        ("\nLocal Volumes space usage:", "Volumes", volume.HEADERS, _VOLUMES),
        (f"\nBuild cache usage: {cache}", "BuildCache", _CACHE_HEADERS, _CACHE),
        ("\nContainer logs space usage:", "Logs", _LOG_HEADERS, _LOGS),
    ):
        session.say(f"{title}\n")
        print_rows(things[name], headers, template)


DF = Command(
    "df [OPTIONS]",
    "Show disk usage",
    df,
    (
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("verbose", "Show detailed information on space usage", SWITCH, "v"),
    ),
)
