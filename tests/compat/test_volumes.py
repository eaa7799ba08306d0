"""Volumes through real clients: options of the local driver, their users, what is left behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sampan.syscalls.mount import mounts_below
from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import eventually
from tests.support.engines import Engine

IMAGE = "busybox:test"
TMPFS = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m,mode=0700")


def mounted(engine: Engine) -> list[Path]:
    return mounts_below(engine.data_root / "volumes")


@pytest.fixture
def volume(client: Client) -> Iterator[str]:
    yield "cargo"
    for container in client("ps", "-aq").split():
        client("rm", "-f", container)
    client("volume", "rm", "-f", "cargo")


def test_a_tmpfs_volume_is_shared_while_it_is_used_and_gone_with_its_last_user(
    client: Client, engine: Engine, volume: str
) -> None:
    client("volume", "create", *TMPFS, "--label", "planks=3", volume)
    seen = json.loads(client("volume", "inspect", volume))[0]
    assert seen["Options"] == {"device": "tmpfs", "o": "size=1m,mode=0700", "type": "tmpfs"}
    assert mounted(engine) == []
    for name in ("first", "second"):
        client("run", "-d", "--name", name, "-v", f"{volume}:/data", IMAGE, "sleep", "600")
    assert mounted(engine) == [Path(seen["Mountpoint"])]
    client("exec", "first", "sh", "-c", "echo here > /data/file")
    assert client("exec", "second", "cat", "/data/file") == "here"
    assert client("exec", "second", "stat", "-f", "-c", "%T", "/data") == "tmpfs"
    client("rm", "-f", "first")
    assert client("exec", "second", "cat", "/data/file") == "here"
    refused = client.run("volume", "rm", volume)
    assert refused.returncode == 1 and "volume is in use" in refused.stderr
    client("rm", "-f", "second")
    assert eventually(lambda: mounted(engine) == [])
    assert client("run", "--rm", "-v", f"{volume}:/data", IMAGE, "ls", "/data") == ""


def test_a_bind_volume_is_another_directory_which_stays(
    client: Client, engine: Engine, volume: str, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("kept\n")
    client("volume", "create", "-o", "type=none", "-o", f"device={tmp_path}", "-o", "o=bind,ro", volume)
    assert client("run", "--rm", "-v", f"{volume}:/data", IMAGE, "cat", "/data/kept") == "kept"
    refused = client.run("run", "--rm", "-v", f"{volume}:/data", IMAGE, "touch", "/data/new")
    assert "Read-only file system" in refused.stderr
    assert eventually(lambda: mounted(engine) == [])
    client("volume", "rm", volume)
    assert (tmp_path / "kept").exists()


def test_a_volume_that_can_not_be_mounted_says_so_and_nothing_is_left(
    client: Client, engine: Engine, volume: str
) -> None:
    client("volume", "create", "-o", "type=nfs", "-o", "device=:/export", "-o", "o=addr=127.0.0.1,password=x", volume)
    refused = client.run("run", "-v", f"{volume}:/data", IMAGE, "true")
    assert refused.returncode == 125
    assert "error while mounting volume" in refused.stderr and "failed to mount local volume" in refused.stderr
    assert "password=********" in refused.stderr
    assert mounted(engine) == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("type=tmpfs",), 'missing required option: "device"'),
        (("o=bind",), 'missing required option: "device"'),
        (("colour=red",), 'invalid option: "colour"'),
        (("size=1m",), "quota size requested but no quota support"),
    ],
)
def test_options_that_make_no_sense(client: Client, options: tuple[str, ...], complaint: str) -> None:
    refused = client.run("volume", "create", *(word for option in options for word in ("-o", option)), "cargo")
    assert refused.returncode == 1 and complaint in refused.stderr
    assert "cargo" not in client("volume", "ls")


def test_prune_takes_anonymous_volumes_and_all_if_asked(client: Client, volume: str) -> None:
    client("volume", "create", volume)
    client("run", "--name", "made", "-v", "/data", IMAGE, "true")
    [anonymous] = [name for name in client("volume", "ls", "-q").split() if len(name) == 64]
    client("rm", "made")
    assert anonymous in client("volume", "prune", "--force")
    assert volume in client("volume", "ls", "-q")
    said = client("volume", "prune", "--force", "--all")
    assert f"Deleted Volumes:\n{volume}\n" in said and "Total reclaimed space:" in said
    assert client("volume", "ls", "-q") == ""


def test_a_cluster_volume_can_not_be(engine: Engine, docker: Client) -> None:
    status, body = engine.request("PUT", "/volumes/nosuch?version=1", {"Spec": {}})
    assert (status, json.loads(body)["message"]) == (
        503,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    )


def test_a_killed_daemon_leaves_a_mount_to_its_user_and_to_nobody_else(
    start_sampand: Callable[..., Any], archives: Archives
) -> None:
    engine = start_sampand()
    with closing(Client("docker", engine)) as client:
        client("load", "--input", str(archives.busybox))
        for name in ("kept", "idle"):
            client("volume", "create", *TMPFS, name)
        client("run", "-d", "--name", "user", "-v", "kept:/data", IMAGE, "sleep", "600")
        client("run", "-d", "--name", "ended", "-v", "idle:/data", IMAGE, "sleep", "600")
        client("exec", "user", "touch", "/data/file")
        pid = client("inspect", "--format", "{{.State.Pid}}", "ended")
        engine.kill()
        subprocess.run(["kill", "-9", pid], check=True)
        engine.start()
        [place] = mounted(engine)
        assert place.parent.name == "kept"
        client("run", "--rm", "-v", "kept:/data", IMAGE, "ls", "/data/file")
        client("rm", "-f", "user")
        assert eventually(lambda: mounted(engine) == [])
