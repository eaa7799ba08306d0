"""The flags of `volume create` for cluster volumes, which a daemon without a swarm refuses.

Source: docker/cli cli/command/volume/create.go.
"""

from __future__ import annotations

from typing import Any

from sampan.cli.command import LIST, Flag, Options
from sampan.cli.create.environment import as_map
from sampan.cli.create.kinds import BYTES, MAP

FLAGS = (
    Flag("availability", 'Cluster volume availability ("active", "pause", "drain")', default="active"),
    Flag("group", "Cluster volume group"),
    Flag("limit-bytes", "Maximum size of the cluster volume in bytes", BYTES),
    Flag("required-bytes", "Minimum size of the cluster volume in bytes", BYTES),
    Flag("scope", 'Cluster volume access scope ("single", "multi")', default="single"),
    Flag("secret", "Cluster volume secrets", MAP),
    Flag("sharing", 'Cluster volume access sharing ("none", "readonly", "onewriter", "all")', default="none"),
    Flag("topology-preferred", "A topology that the cluster volume would be preferred in", LIST),
    Flag("topology-required", "A topology that the cluster volume must be accessible from", LIST),
    Flag("type", 'Cluster volume access type ("mount", "block")', default="block"),
)


def spec(options: Options) -> dict[str, Any] | None:
    """The body's ClusterVolumeSpec; `None` if no flag requests a cluster volume."""
    if not any(options.changed(flag.name) for flag in FLAGS):
        return None
    access = {"Scope": options.text("scope"), "Sharing": options.text("sharing")}
    kinds: dict[str, dict[str, Any]] = {"mount": {"MountVolume": {}}, "block": {"BlockVolume": {}}}
    secrets = sorted(as_map(options.texts("secret")).items())
    return {
        "Group": options.text("group"),
        "AccessMode": access | kinds.get(options.text("type"), {}),
        "AccessibilityRequirements": {
            "Requisite": _topologies(options, "topology-required"),
            "Preferred": _topologies(options, "topology-preferred"),
        },
        "CapacityRange": {
            "RequiredBytes": options.number("required-bytes"),
            "LimitBytes": options.number("limit-bytes"),
        },
        "Secrets": [{"Key": key, "Secret": secret} for key, secret in secrets],
        "Availability": options.text("availability"),
    }


def _topologies(options: Options, flag: str) -> list[dict[str, dict[str, str]]]:
    return [{"Segments": as_map(text.split(","))} for text in options.texts(flag)]
