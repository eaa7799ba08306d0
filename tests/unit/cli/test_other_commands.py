"""Images, volumes, networks, the engine itself, and our own jobs and drivers."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Answer, FakeEngine, Outcome, Terminal

Main = Callable[..., Outcome]
DIGEST = "sha256:" + "d" * 64
IMAGE_ID = "sha256:4b9d5fc057627afad793cecff39c3ce561c1752be4135a218ce42fa1d03198e8"


def lines(*items: dict[str, Any]) -> Answer:
    """A streamed response of JSON documents."""
    return Answer(iter([json.dumps(item).encode() + b"\r\n" for item in items]))


@pytest.fixture
def images(engine: FakeEngine) -> FakeEngine:
    common = {"Id": IMAGE_ID, "Created": int(time.time()) - 7200, "Size": 1982000, "SharedSize": -1, "Containers": -1}
    engine.on("GET", "/images/json", [
        {**common, "RepoTags": ["docker.io/library/bb:1", "bb:latest"], "RepoDigests": [f"bb@{DIGEST}"]},
        {**common, "RepoTags": [], "RepoDigests": [f"localhost:5000/x@{DIGEST}"]},
        {**common, "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]},
    ])  # fmt: skip
    return engine


def test_images_have_a_line_for_each_tag(images: FakeEngine, main: Main) -> None:
    assert main("images").out == (
        "REPOSITORY         TAG       IMAGE ID       CREATED       SIZE\n"
        "bb                 1         4b9d5fc05762   2 hours ago   1.98MB\n"
        "bb                 latest    4b9d5fc05762   2 hours ago   1.98MB\n"
        "localhost:5000/x   <none>    4b9d5fc05762   2 hours ago   1.98MB\n"
        "<none>             <none>    4b9d5fc05762   2 hours ago   1.98MB\n"
    )


def test_images_by_digest_format_and_reference(images: FakeEngine, main: Main) -> None:
    assert main("images", "--digests").out.splitlines()[2].split()[:3] == ["bb", "latest", DIGEST]
    out = main("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Containers}}", "b*").out
    assert out.splitlines()[1] == f"bb:latest {IMAGE_ID} N/A"
    assert images.requests[-1].query == {"filters": ['{"reference":["b*"]}']}


def test_rmi_prints_what_went_and_what_failed(engine: FakeEngine, main: Main) -> None:
    engine.on("DELETE", "/images/localhost:5000/x:1", [{"Untagged": "localhost:5000/x:1"}, {"Deleted": IMAGE_ID}])
    engine.on("DELETE", "/images/gone", Answer({"message": "No such image: gone"}, 404))
    assert main("rmi", "localhost:5000/x:1", "gone") == Outcome(
        1,
        f"Untagged: localhost:5000/x:1\nDeleted: {IMAGE_ID}\n",
        "Error response from daemon: No such image: gone\n",
    )


def test_rmi_with_force_fails_only_for_images_that_are_there(engine: FakeEngine, main: Main) -> None:
    engine.on("DELETE", "/images/gone", Answer({"message": "No such image: gone"}, 404))
    engine.on("DELETE", "/images/used", Answer({"message": "it is used"}, 409))
    gone, used = "Error response from daemon: No such image: gone\n", "Error response from daemon: it is used\n"
    assert main("rmi", "-f", "gone") == Outcome(0, "", gone)
    assert main("rmi", "-f", "gone", "used") == Outcome(1, "", gone + used)


def test_tag_sends_name_and_tag(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/images/bb/tag", Answer(None, 201))
    assert main("tag", "bb", "localhost:5000/y") == Outcome(0, "", "")
    assert engine.requests[-1].query == {"repo": ["localhost:5000/y"], "tag": ["latest"]}
    assert main("tag", "bb", "B:").err.startswith('Error parsing reference: "B:" is not a valid repository/tag: ')


def test_pull_prints_lines_and_the_full_name(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/images/create", lambda _: lines(
        {"status": "Pulling from library/bb", "id": "latest"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "aa"},
        {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "progress": "[=> ]", "id": "aa"},
        {"status": "Pull complete", "progressDetail": {}, "id": "aa"},
        {"status": f"Digest: {DIGEST}"},
    ))  # fmt: skip
    assert main("pull", "bb").out == (
        "Using default tag: latest\nlatest: Pulling from library/bb\naa: Pulling fs layer\naa: Pull complete\n"
        f"Digest: {DIGEST}\ndocker.io/library/bb:latest\n"
    )
    assert main("pull", "-q", "localhost:5000/x:1").out == "localhost:5000/x:1\n"
    assert engine.requests[-1].query == {"fromImage": ["localhost:5000/x"], "tag": ["1"]}
    main("pull", f"bb@{DIGEST}")
    assert engine.requests[-1].query == {"fromImage": ["bb"], "tag": [DIGEST]}


def test_on_a_terminal_a_pull_has_bars(engine: FakeEngine) -> None:
    engine.on("POST", "/images/create", lambda _: lines(
        {"status": "Pulling from library/bb", "id": "1"},
        {"status": "Waiting", "progressDetail": {}, "id": "aa"},
        {"status": "Downloading", "progressDetail": {"current": 5_000_000, "total": 10_000_000}, "id": "aa"},
        {"status": "Pull complete", "progressDetail": {}, "id": "aa"},
        {"status": "Downloading", "progressDetail": {"current": 5_000_000, "total": 10_000_000}, "id": "bb"},
    ))  # fmt: skip
    terminal = Terminal("pull", "bb:1")
    status, seen = terminal.end()
    assert status == 0
    for text in ("1: Pulling from library/bb\r\n", "aa: Pull complete", "5MB/10MB", "docker.io/library/bb:1\r\n"):
        assert text in seen.decode()


def test_an_error_in_the_stream_ends_the_pull(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/images/create", lambda _: lines(
        {"status": "Pulling from library/bb", "id": "1"},
        {"errorDetail": {"message": "unexpected digest"}, "error": "unexpected digest"},
    ))  # fmt: skip
    assert main("pull", "bb:1") == Outcome(1, "1: Pulling from library/bb\n", "unexpected digest\n")


def test_load_sends_the_file_and_shows_the_answer(engine: FakeEngine, main: Main, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"tar" * 100_000)
    engine.on("POST", "/images/load", lambda _: lines({"stream": "Loaded image: bb:latest\n"}))
    assert main("load", "-i", str(tmp_path / "x.tar")).out == "Loaded image: bb:latest\n"
    assert engine.requests[-1].body == b"tar" * 100_000
    assert main("load", "-i", "/nowhere/x") == Outcome(1, "", "open /nowhere/x: no such file or directory\n")
    assert main("load", "-i", str(tmp_path)) == Outcome(1, "", f"read {tmp_path}: is a directory\n")


@pytest.mark.parametrize("mark", ["oci-layout", "manifest.json"])
def test_load_packs_a_directory_that_is_an_archive(engine: FakeEngine, main: Main, tmp_path: Path, mark: str) -> None:
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    files = {mark: b"{}", "blobs/sha256/ab": b"x" * 700_000}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    engine.on("POST", "/images/load", lambda _: lines({"stream": "Loaded image ID: sha256:ab\n"}))
    assert main("load", "-i", str(tmp_path)).out == "Loaded image ID: sha256:ab\n"
    with tarfile.open(fileobj=io.BytesIO(engine.requests[-1].body)) as archive:
        sent = {os.path.normpath(one.name): archive.extractfile(one) for one in archive if one.isfile()}
    assert {name: file.read() for name, file in sent.items() if file} == files


def test_load_and_import_read_stdin(engine: FakeEngine, sampan: Main) -> None:
    engine.on("POST", "/images/load", lambda _: lines({"stream": "Loaded image: bb:latest\n"}))
    engine.on("POST", "/images/create", lambda _: lines({"status": IMAGE_ID}))
    assert sampan("load", stdin=b"tar").out == "Loaded image: bb:latest\n"
    assert engine.requests[-1].body == b"tar"
    assert sampan("import", "-c", 'CMD ["sh"]', "-c", "USER x", "-", "bb:1", stdin=b"fs").out == f"{IMAGE_ID}\n"
    assert engine.requests[-1].body == b"fs"
    assert engine.requests[-1].query == {
        "fromSrc": ["-"], "repo": ["bb"], "tag": ["1"], "changes": ['CMD ["sh"]', "USER x"],
    }  # fmt: skip


def test_volumes_of_a_cluster_are_asked_for_as_docker_does(engine: FakeEngine, main: Main) -> None:
    engine.on("POST", "/volumes/create", Answer({"Name": "far"}, 201))
    words = ("--type", "mount", "--sharing", "all", "--limit-bytes", "1g", "--secret", "b=2", "--secret", "a=1")
    assert main("volume", "create", *words, "--topology-required", "zone=a,rack=1", "far").out == "far\n"
    body = engine.request("POST", "/volumes/create").json
    assert body["ClusterVolumeSpec"] == {
        "Group": "",
        "AccessMode": {"Scope": "single", "Sharing": "all", "MountVolume": {}},
        "AccessibilityRequirements": {"Requisite": [{"Segments": {"zone": "a", "rack": "1"}}], "Preferred": []},
        "CapacityRange": {"RequiredBytes": 0, "LimitBytes": 1 << 30},
        "Secrets": [{"Key": "a", "Secret": "1"}, {"Key": "b", "Secret": "2"}],
        "Availability": "active",
    }
    cluster = {"Spec": {"Group": "g", "Availability": "drain"}, "Info": {"VolumeID": "x"}, "PublishStatus": [{}]}
    far = {"Name": "far", "Driver": "csi", "ClusterVolume": cluster}
    engine.on("GET", "/volumes", {"Volumes": [far, {"Name": "near", "Driver": "local"}]})
    assert main("volume", "ls", "--cluster").out.splitlines()[1].split() == (
        ["far", "g", "csi", "drain", "in", "use", "(1", "node)"]
    )


def test_volumes(engine: FakeEngine, main: Main) -> None:
    volume = {"Name": "data", "Driver": "local", "Scope": "local", "Mountpoint": "/m", "Labels": {"a": "b"}}
    engine.on("POST", "/volumes/create", Answer(volume, 201))
    engine.on("GET", "/volumes", {"Volumes": [volume, {**volume, "Name": "cache"}], "Warnings": ["slow"]})
    engine.on("DELETE", "/volumes/data", Answer(None, 204))
    assert main("volume", "create", "--label", "a=b", "-o", "size=1g", "data").out == "data\n"
    assert engine.requests[-1].json == {
        "Name": "data", "Driver": "local", "DriverOpts": {"size": "1g"}, "Labels": {"a": "b"},
    }  # fmt: skip
    assert main("volume", "ls") == Outcome(0, "DRIVER    VOLUME NAME\nlocal     cache\nlocal     data\n", "slow\n")
    assert main("volume", "ls", "-q").out == "cache\ndata\n"
    assert (
        main("volume", "ls", "--format", "{{.Name}} {{.Mountpoint}} {{.Labels}} {{.Size}}").out
        == "cache /m a=b N/A\ndata /m a=b N/A\n"
    )
    assert main("volume", "rm", "-f", "data").out == "data\n"
    assert engine.requests[-1].query == {"force": ["1"]}


def test_networks(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/networks", [
        {"Name": "none", "Id": "4e3275fbad4d" * 5, "Driver": "null", "Scope": "local"},
        {"Name": "bridge", "Id": "12e4e69740fb" * 5, "Driver": "bridge", "Scope": "local", "EnableIPv6": True},
    ])  # fmt: skip
    assert main("network", "ls").out == (
        "NETWORK ID     NAME      DRIVER    SCOPE\n"
        "12e4e69740fb   bridge    bridge    local\n"
        "4e3275fbad4d   none      null      local\n"
    )
    assert main("network", "ls", "--format", "{{.Name}} {{.IPv6}}").out == "bridge true\nnone false\n"


def test_inspect_looks_everywhere_and_prints_json(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/containers/web/json", {"Id": "1", "State": {"Status": "running"}})
    engine.on("GET", "/networks/bridge", {"Name": "bridge"})
    assert json.loads(main("inspect", "web", "bridge").out) == [
        {"Id": "1", "State": {"Status": "running"}},
        {"Name": "bridge"},
    ]
    assert main("inspect", "-f", "{{.State.Status}}", "web").out == "running\n"
    assert main("inspect", "-f", "json", "web").out == '[{"Id":"1","State":{"Status":"running"}}]\n'
    assert main("inspect", "nope", "bridge") == Outcome(
        1, '[\n    {\n        "Name": "bridge"\n    }\n]\n', "Error: No such object: nope\n"
    )


def test_inspect_of_one_kind(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/images/a/b:1/json", {"Id": IMAGE_ID})
    engine.on("GET", "/volumes/v", {"Name": "v"})
    engine.on("GET", "/containers/web/json", {"Id": "1"})
    assert main("image", "inspect", "-f", "{{.Id}}", "a/b:1").out == f"{IMAGE_ID}\n"
    assert main("volume", "inspect", "v", "-f", "{{.Name}}").out == "v\n"
    engine.on("GET", "/plugins/overlayfs/json", {"Name": "overlayfs"})
    assert main("plugin", "inspect", "overlayfs", "-f", "{{.Name}}").out == "overlayfs\n"
    assert (
        main("inspect", "--type", "volume", "nope").err
        == "Error response from daemon: page not found: /volumes/nope\n"
    )
    assert main("inspect", "--type", "x", "v").err.startswith('unknown type: "x": must be one of "container", ')
    main("container", "inspect", "-s", "web")
    assert engine.requests[-1].query == {"size": ["1"]}
    assert main("inspect", "-f", "{{", "v").status == 64


VERSION = {
    "Platform": {"Name": "sampan"},
    "Version": "0.1.0",
    "ApiVersion": "1.48",
    "MinAPIVersion": "1.24",
    "Os": "linux",
    "Arch": "amd64",
    "Components": [
        {"Name": "Engine", "Version": "0.1.0", "Details": {
            "ApiVersion": "1.48", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64", "Experimental": "false"}},
        {"Name": "runc", "Version": "1.1.5", "Details": {"GitCommit": "abc"}},
    ],
}  # fmt: skip


def test_version_shows_both_sides(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/version", VERSION)
    out = main("version").out
    assert "Client:\n Version:           0.1.0\n API version:       1.48 (downgraded from 1.51)\n" in out
    assert (
        "\n\nServer: sampan\n Engine:\n  Version:          0.1.0\n  API version:      1.48 (minimum version 1.24)\n"
        in out
    )
    assert out.endswith(" runc:\n  Version:          1.1.5\n  GitCommit:        abc\n")
    assert main("version", "--format", "{{.Server.Version}} {{.Client.ApiVersion}}").out == "0.1.0 1.48\n"


def test_version_without_a_daemon_shows_the_client_and_fails(main: Main, tmp_path: Path) -> None:
    outcome = main("-H", f"unix://{tmp_path}/none", "version")
    assert (outcome.status, outcome.out.startswith("Client:\n Version:")) == (1, True)
    assert outcome.err.startswith("Cannot connect to the sampan daemon")


def test_info_shows_what_the_daemon_says(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/info", {
        "Containers": 3, "ContainersRunning": 2, "ContainersPaused": 0, "ContainersStopped": 1, "Images": 7,
        "ServerVersion": "0.1.0", "Driver": "overlayfs", "DriverStatus": [["Backing Filesystem", "extfs"]],
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host"], "Log": ["json-file"]},
        "MemTotal": 25277000000, "NCPU": 2, "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "Runtimes": {"runc": {}}, "DefaultRuntime": "runc", "Warnings": ["WARNING: No swap limit support"],
        "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {"x:5000": {"Secure": False}}},
        "Name": "box", "LiveRestoreEnabled": True,
    })  # fmt: skip
    outcome = main("info")
    for expected in (
        " Containers: 3\n  Running: 2\n",
        " Storage Driver: overlayfs\n  Backing Filesystem: extfs\n",
        " Plugins:\n  Volume: local\n  Network: bridge host\n  Log: json-file\n",
        " Security Options:\n  seccomp\n   Profile: builtin\n  cgroupns\n",
        " CPUs: 2\n Total Memory: 23.54GiB\n Name: box\n",
        " Insecure Registries:\n  x:5000\n  127.0.0.0/8\n Live Restore Enabled: true\n",
    ):
        assert expected in outcome.out
    assert outcome.err == "WARNING: No swap limit support\n"
    assert main("info", "-f", "{{.Driver}} {{.ClientInfo.Version}}").out == "overlayfs 0.1.0\n"


def test_events_are_lines_json_or_templates(engine: FakeEngine, main: Main) -> None:
    event = {
        "Type": "container", "Action": "start", "timeNano": 1700000000123456789, "time": 1700000000,
        "Actor": {"ID": "abc", "Attributes": {"name": "web", "image": "bb"}},
    }  # fmt: skip
    engine.on("GET", "/events", lambda _: lines(event))
    out = main("events", "--since", "1", "--until", "2", "-f", "type=container").out
    assert out == "2023-11-14T22:13:20.123456789Z container start abc (image=bb, name=web)\n"
    assert engine.requests[-1].query == {
        "since": ["1.000000000"], "until": ["2.000000000"], "filters": ['{"type":["container"]}'],
    }  # fmt: skip
    assert json.loads(main("events", "--format", "json").out) == event
    assert main("events", "--format", "{{.Action}} {{.Actor.Attributes.name}}").out == "start web\n"
    assert main("events", "--format", "{{").status == 64


def test_jobs_are_listed_and_cancelled(engine: FakeEngine, main: Main) -> None:
    caller = {"Uid": 0, "Gid": 0, "Pid": 77, "Subject": None, "Role": "full", "Address": "unix"}
    job = {"Id": "j1", "Name": "image_pull", "State": "running", "Caller": caller, "QueuedAt": time.time() - 120,
           "StartedAt": 1.0, "EndedAt": None, "WaitSeconds": 0.0032, "RunSeconds": 2.5, "Error": None}  # fmt: skip
    engine.on("GET", "/jobs", [job, {**job, "Id": "j0", "State": "failed", "Error": "no space"}])
    engine.on("DELETE", "/jobs/j1", Answer(None, 204))
    assert main("jobs").out == (
        "JOB ID    NAME         STATE     CALLER          QUEUED          WAITED    RAN\n"
        "j1        image_pull   running   uid 0, pid 77   2 minutes ago   3.2ms     2.50s\n"
    )
    assert main("jobs", "-aq").out == "j1\nj0\n"
    assert main("job", "ls", "-a", "--format", "{{.ID}} {{.Error}}").out == "j1 \nj0 no space\n"
    assert main("job", "cancel", "j1").out == "j1\n"


def test_drivers_name_their_packages(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/drivers", [
        {"Kind": "storage", "Name": "overlay", "Distribution": "sampan-overlay", "Version": "0.1", "Selected": True},
        {"Kind": "plugin", "Name": "bad", "Distribution": "bad", "Version": "1", "Selected": False, "Error": "boom"},
    ])  # fmt: skip
    assert main("drivers").out == (
        "KIND      NAME      SELECTED   PACKAGE          VERSION   ERROR\n"
        "storage   overlay   yes        sampan-overlay   0.1       \n"
        "plugin    bad       no         bad              1         boom\n"
    )


STRAY = {"Kind": "stray file", "Name": "/x", "Detail": "it is no blob", "Repaired": False}
LOST = {"Kind": "lost container", "Name": "c0", "Detail": "its files are gone", "Repaired": False}


def checked(*problems: dict[str, Any]) -> dict[str, Any]:
    return {"Images": 2, "Layers": 5, "Blobs": 9, "Containers": 1, "Problems": list(problems)}


def test_a_check_without_problems_ends_well(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/system/check", checked())
    done = main("system", "check")
    assert (done.status, done.out) == (0, "No problems in 2 images, 5 layers, 9 blobs, 1 container\n")


def test_a_check_with_problems_prints_them_and_fails(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/system/check", checked(STRAY, LOST))
    done = main("system", "check")
    assert (done.status, done.out) == (
        1,
        "KIND             NAME      PROBLEM\n"
        "stray file       /x        it is no blob\n"
        "lost container   c0        its files are gone\n",
    )
    done = main("system", "check", "--format", "json")
    assert (done.status, json.loads(done.out)) == (1, checked(STRAY, LOST))


def test_a_repair_fails_only_if_something_is_still_wrong(engine: FakeEngine, main: Main) -> None:
    mended = {**STRAY, "Action": "removed", "Repaired": True}
    engine.on("POST", "/system/check", checked(mended))
    done = main("system", "check", "--repair", "--format", "{{.Kind}}: {{.Action}}")
    assert (done.status, done.out) == (0, "stray file: removed\n")
    engine.on("POST", "/system/check", checked(mended, LOST))
    done = main("system", "check", "--repair")
    assert done.status == 1
    assert "lost container   c0        its files are gone   no" in done.out


def test_files_are_checked_if_asked_for(engine: FakeEngine, main: Main) -> None:
    engine.on("GET", "/system/check", checked())
    engine.on("POST", "/system/check", checked())
    assert main("system", "check", "--files").status == 0
    assert main("system", "check", "--files", "--repair").status == 0
    asked = [(one.method, one.query) for one in engine.requests if one.path.endswith("/check")]
    assert asked == [("GET", {"files": ["1"]}), ("POST", {"files": ["1"]})]


def test_plugins_are_listed(engine: FakeEngine, main: Main) -> None:
    engine.on(
        "GET",
        "/plugins",
        [{"Id": "a" * 64, "Name": "x:latest", "Enabled": True, "Config": {"Description": "An\n x"}}],
    )
    assert main("plugin", "ls").out == (
        "ID             NAME       DESCRIPTION   ENABLED\naaaaaaaaaaaa   x:latest   An x          true\n"
    )
