"""Containers for tests of the daemon's modules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sampan.daemon.container import Container, Record
from sampan.models import ContainerConfig, HostConfig


def record(id: str = "a" * 64, name: str = "web", **host: Any) -> Record:
    return Record(
        id=id,
        name=name,
        image_id="sha256:" + "0" * 64,
        image_name="busybox",
        config=ContainerConfig(),
        host_config=HostConfig.model_validate(host),
        networks={},
        mounts=[],
        args=["true"],
    )


def container(**host: Any) -> Container:
    """A container whose init is this process."""
    made = Container(record(**host), Path("/nowhere"), Path("/nowhere"))
    made.state.pid = os.getpid()
    return made
