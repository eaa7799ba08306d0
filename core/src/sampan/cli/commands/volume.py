"""`sampan volume` create, ls, rm and update."""

from __future__ import annotations

from typing import Any

from sampan.cli.client.client import filters_of
from sampan.cli.command import FILTER, SWITCH, Command, Flag, Options
from sampan.cli.command import LIST as LIST_KIND
from sampan.cli.commands.each import for_each, segment
from sampan.cli.create import cluster_volume
from sampan.cli.create.environment import as_map
from sampan.cli.create.kinds import LABEL
from sampan.cli.errors import CliError
from sampan.cli.human import size
from sampan.cli.output import joined_labels, print_rows
from sampan.cli.session import Session

HEADERS = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}


_CLUSTER_TABLE = "table {{.Name}}\\t{{.Group}}\\t{{.Driver}}\\t{{.Availability}}\\t{{.Status}}"


def create(session: Session, options: Options) -> None:
    """Create a volume and print its name."""
    name = options.args[0] if options.args else options.text("name")
    if options.args and options.text("name"):
        raise CliError(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
        )
    body = {
        "Name": name,
        "Driver": options.text("driver"),
        "DriverOpts": as_map(options.texts("opt")),
        "Labels": as_map(options.texts("label")),
    }
    if cluster := cluster_volume.spec(options):
        body["ClusterVolumeSpec"] = cluster
    session.say(session.client.call("POST", "/volumes/create", body=body)["Name"])


def list_volumes(session: Session, options: Options) -> None:
    """Print the volumes by name."""
    answer = session.client.call("GET", "/volumes", query={"filters": filters_of(options.texts("filter"))})
    for warning in answer.get("Warnings") or []:
        session.warn(warning)
    template = options.text("format") or session.setting("volumesFormat") or "table"
    if options.on("quiet"):
        template = "{{.Name}}"
    elif template == "table":
        template = _CLUSTER_TABLE if options.on("cluster") else "table {{.Driver}}\\t{{.Name}}"
    found = [
        volume for volume in answer.get("Volumes") or [] if not options.on("cluster") or volume.get("ClusterVolume")
    ]
    volumes = sorted(found, key=lambda volume: str(volume["Name"]))
    print_rows([row(volume) for volume in volumes], HEADERS, template)


def row(volume: dict[str, Any]) -> dict[str, Any]:
    """The fields of a volume's row."""
    labels, usage = volume.get("Labels") or {}, volume.get("UsageData")
    return {
        "Name": volume["Name"],
        "Driver": volume["Driver"],
        "Scope": volume.get("Scope", ""),
        "Mountpoint": volume.get("Mountpoint", ""),
        "Labels": joined_labels(labels),
        "Label": lambda name: labels.get(name, ""),
        "Links": str(usage["RefCount"]) if usage else "N/A",
        "Size": size(usage["Size"]) if usage else "N/A",
        **_cluster_fields(volume.get("ClusterVolume")),
    }


def _cluster_fields(cluster: dict[str, Any] | None) -> dict[str, str]:
    if cluster is None:
        return {"Availability": "N/A", "Group": "N/A", "Status": "N/A"}
    spec, published = cluster.get("Spec") or {}, cluster.get("PublishStatus") or []
    status = f"in use ({len(published)} node{'s' * (len(published) != 1)})" if published else "created"
    return {
        "Availability": spec.get("Availability", ""),
        "Group": spec.get("Group", ""),
        "Status": status if (cluster.get("Info") or {}).get("VolumeID") else "pending creation",
    }


def update(session: Session, options: Options) -> None:
    """Change a cluster volume."""
    name = options.args[0] if options.args else ""
    current = session.client.call("GET", f"/volumes/{segment(name)}")
    version = (current.get("ClusterVolume") or {}).get("Version", {}).get("Index", 0)
    spec = {"Availability": options.text("availability")}
    session.client.call("PUT", f"/volumes/{segment(name)}", query={"version": str(version)}, body={"Spec": spec})


def remove(session: Session, options: Options) -> int:
    """Remove each volume and print its name."""

    def one(name: str) -> str:
        session.client.call("DELETE", f"/volumes/{segment(name)}", query={"force": options.on("force")})
        return name

    return for_each(session, options.args, one)


_FLAGS = (
    Flag("driver", "Specify volume driver name", short="d", default="local"),
    Flag("label", "Set metadata for a volume", LABEL),
    Flag("name", "Specify volume name", hidden=True),
    Flag("opt", "Set driver specific options", LIST_KIND, "o"),
)
CREATE = Command(
    "create [OPTIONS] [VOLUME]",
    "Create a volume",
    create,
    tuple(sorted((*_FLAGS, *cluster_volume.FLAGS), key=lambda flag: flag.name)),
    most=1,
)
LIST = Command(
    "ls [OPTIONS]",
    "List volumes",
    list_volumes,
    (
        Flag("cluster", "Display only cluster volumes, and use cluster volume list formatting", SWITCH),
        Flag("filter", 'Provide filter values (e.g. "dangling=true")', FILTER, "f"),
        Flag("format", "Format output: table, table TEMPLATE, json, or a Go template"),
        Flag("quiet", "Only display volume names", SWITCH, "q"),
    ),
)
UPDATE = Command(
    "update [OPTIONS] [VOLUME]",
    "Update a volume (cluster volumes only)",
    update,
    (Flag("availability", 'Cluster volume availability ("active", "pause", "drain")', default="active"),),
    least=0,
    most=1,
)
REMOVE = Command(
    "rm [OPTIONS] VOLUME [VOLUME...]",
    "Remove one or more volumes",
    remove,
    (Flag("force", "Force the removal of one or more volumes", SWITCH, "f"),),
    least=1,
    most=None,
)
