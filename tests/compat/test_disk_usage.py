"""The figures of `system df` add up to what du(1) reports for the data root."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Archives, EngineFactory
from tests.support.containers import IMAGE, call, run, send
from tests.support.engines import Engine

LITTLE = 1 << 20
"""Data that belongs to no object: the database and its log, a disk-full reserve, the drivers' own records."""


def taken(engine: Engine) -> int:
    """Bytes used in the data root, excluding the state database."""
    done = subprocess.run(["du", "-s", "-x", "-B1", engine.data_root], check=True, capture_output=True, text=True)
    own = sum(path.stat().st_blocks * 512 for path in Path(engine.data_root).glob("state.db*"))
    return int(done.stdout.split()[0]) - own


@pytest.mark.root
def test_disk_usage_adds_up_to_what_du_finds(start_sampand: EngineFactory, archives: Archives) -> None:
    engine = start_sampand()
    for archive in (archives.busybox, archives.layered):
        send(engine, "/images/load", archive.read_bytes())
    host = {"Binds": ["held:/data"]}
    write = "dd if=/dev/zero of=/big bs=1M count=20; dd if=/dev/zero of=/data/big bs=1M count=10; seq 300000"
    run(engine, "writer", "sh", "-c", write, host=host)
    assert call(engine, "POST", "/containers/writer/wait")[1]["StatusCode"] == 0
    usage = engine.get("/system/df?verbose=1")
    sizes = {kind: sums.get("TotalSize", 0) for kind, sums in usage.items()}
    assert sizes["ContainerUsage"] >= 20 << 20
    assert sizes["VolumeUsage"] >= 10 << 20
    assert sizes["SampanLogUsage"] >= 1 << 20
    assert sizes["ImageUsage"] >= 3 << 20
    assert abs(sum(sizes.values()) - taken(engine)) < LITTLE, (sizes, taken(engine))
    assert usage["ContainerUsage"]["Reclaimable"] == sizes["ContainerUsage"]
    assert [one["Containers"] for one in usage["ImageUsage"]["Items"] if IMAGE in one["RepoTags"]] == [1]
