"""Copying files into and out of containers over HTTP: the daemon in process, with its confined copy processes."""

from __future__ import annotations

import base64
import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest

from tests.api.daemon.conftest import MakeHouse
from tests.api.daemon.in_process import IMAGE, JSON, InProcess, wait_until
from tests.support.engines import UnixConnection
from tests.support.images import Entry, directory, hard_link, layer, symlink
from tests.support.trees import tree

try:
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    from backports import zstd

pytestmark = pytest.mark.root
GO_DIRECTORY, GO_LINK, GO_SETUID = 1 << 31, 1 << 27, 1 << 23


@pytest.fixture(scope="module")
def house(make_shared_house: MakeHouse) -> InProcess:
    return make_shared_house()


@pytest.fixture
def box(house: InProcess) -> Iterator[str]:
    """A container that was never started."""
    id = house.create()
    yield id
    assert house.call("DELETE", f"/containers/{id}?v=1").status == 204


def files_of(house: InProcess, id: str) -> Path:
    """Where the memory driver keeps the container's files."""
    return Path(house.storage.mounts(id)[0].source)


def ask(house: InProcess, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    with contextlib.closing(UnixConnection(house.socket)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def where(id: str, path: str | bytes, **more: str) -> str:
    quoted = quote_from_bytes(path) if isinstance(path, bytes) else quote(path)
    return f"/containers/{id}/archive?path={quoted}" + "".join(f"&{name}={value}" for name, value in more.items())


def put(house: InProcess, id: str, path: str, content: bytes, **more: str) -> tuple[int, str]:
    """Status, and the error message if there is one."""
    status, _, answer = ask(house, "PUT", where(id, path, **more), content)
    return status, json.loads(answer)["message"] if answer else ""


def get(house: InProcess, id: str, path: str | bytes) -> bytes:
    status, headers, content = ask(house, "GET", where(id, path))
    assert (status, headers["content-type"]) == (200, "application/x-tar"), content
    return content


def names(content: bytes) -> list[str]:
    """Member names as stored in the tar; tarfile would strip slashes."""
    found, position = [], 0
    while position < len(content) and content[position]:
        found.append(content[position : position + 100].split(b"\0")[0].decode())
        size = int(content[position + 124 : position + 135], 8)
        position += 512 + -(-size // 512) * 512
    return found


def stat_of(house: InProcess, id: str, path: str) -> dict[str, Any]:
    status, headers, content = ask(house, "HEAD", where(id, path))
    assert (status, content) == (200, b"")
    return dict(json.loads(base64.b64decode(headers["x-docker-container-path-stat"])))


# Stat


def test_a_stat_tells_of_a_file_as_go_does(house: InProcess, box: str) -> None:
    path = files_of(house, box) / "tool"
    path.write_text("hi\n")
    path.chmod(0o4755)
    os.utime(path, ns=(0, 981_173_045_678_900_000))
    assert stat_of(house, box, "/tool") == {
        "name": "tool",
        "size": 3,
        "mode": GO_SETUID | 0o755,
        "mtime": "2001-02-03T04:04:05.6789Z",
        "linkTarget": "",
    }
    assert stat_of(house, box, "tool") == stat_of(house, box, "/../etc/../tool")


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [("/etc", "/etc"), ("etc/passwd", "/etc/passwd"), ("../../../etc", "/etc"), ("no/where", "/no/where")],
)
def test_a_link_is_told_of_with_where_it_leads_inside(house: InProcess, box: str, target: str, leads_to: str) -> None:
    (files_of(house, box) / "way").symlink_to(target)
    told = stat_of(house, box, "/way")
    assert told["mode"] & GO_LINK
    assert told["linkTarget"] == leads_to


def test_a_slash_at_the_end_follows_a_link_to_a_directory(house: InProcess, box: str) -> None:
    (files_of(house, box) / "way").symlink_to("/etc")
    for path, name in (("/way/", "way"), ("/way/.", "."), ("/", "/")):
        told = stat_of(house, box, path)
        assert (told["name"], told["mode"] & GO_DIRECTORY, told["linkTarget"]) == (name, GO_DIRECTORY, "")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/nope", 404, "Could not find the file /nope in container {box}"),
        ("nope/x", 404, "Could not find the file nope/x in container {box}"),
        ("/etc/passwd/", 400, "lstat /etc/passwd/: not a directory"),
        ("/etc/passwd/x", 400, "lstat /etc/passwd/x: not a directory"),
        ("/loop/x", 400, "lstat /loop/x: too many levels of symbolic links"),
        ("/a\0b", 400, "invalid argument: a path with a zero byte in it"),
        ("", 400, "bad parameter: path cannot be empty"),
    ],
)
def test_what_is_not_there_is_refused_in_dockers_words(
    house: InProcess, box: str, method: str, path: str, status: int, message: str
) -> None:
    (files_of(house, box) / "loop").symlink_to("loop")
    told, _, content = ask(house, method, where(box, path))
    assert told == status
    if method == "GET":
        assert json.loads(content)["message"] == message.format(box=box)


def test_a_container_that_is_not_there(house: InProcess) -> None:
    for method, body in (("GET", None), ("PUT", b"")):
        status, _, content = ask(house, method, where("nobody", "/"), body)
        assert (status, json.loads(content)["message"]) == (404, "No such container: nobody")


# Copying out


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/d", ["d/", "d/f"]),
        ("/d/", ["d/", "d/f"]),
        ("/d/.", ["./", "./f"]),
        ("/d/f", ["f"]),
        ("/way", ["way"]),
        ("/way/", ["way/", "way/f"]),
        ("/way/f", ["f"]),
    ],
)
def test_an_archive_has_dockers_names(house: InProcess, box: str, path: str, expected: list[str]) -> None:
    root = files_of(house, box)
    (root / "d").mkdir()
    (root / "d/f").write_text("f")
    (root / "way").symlink_to("/d")
    assert names(get(house, box, path)) == expected


def test_an_archive_of_the_root_has_leading_slashes(house: InProcess, box: str) -> None:
    found = names(get(house, box, "/"))
    assert found[:2] == ["/", "/.dockerenv"]
    assert "/etc/passwd" in found


def test_an_archive_comes_with_the_stat_of_its_path(house: InProcess, box: str) -> None:
    _, headers, _ = ask(house, "GET", where(box, "/etc/passwd"))
    told = json.loads(base64.b64decode(headers["x-docker-container-path-stat"]))
    assert told == stat_of(house, box, "/etc/passwd")


def test_all_kinds_of_files_go_out_and_in_again(house: InProcess, box: str) -> None:
    root = files_of(house, box)
    _fill(root / "zoo")
    content = get(house, box, "/zoo")
    assert put(house, box, "/tmp", content)[0] == 404
    (root / "again").mkdir()
    assert put(house, box, "/again", content) == (200, "")
    assert tree(root / "again/zoo") == tree(root / "zoo")
    assert (root / "again/zoo/sparse").stat().st_blocks * 512 < 1 << 20
    assert os.getxattr(root / "again/zoo/ping", "security.capability") == _CAPABILITY
    assert get(house, box, b"/again/zoo/\xff\xfe") == get(house, box, b"/zoo/\xff\xfe")


def test_a_sparse_file_goes_out_without_its_holes(house: InProcess, box: str) -> None:
    path = files_of(house, box) / "sparse"
    with path.open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    content = get(house, box, "/sparse")
    assert len(content) < 1 << 20
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        [member] = archive
        assert (member.name, member.size) == ("sparse", (1 << 30) + 3)


def test_sockets_are_left_out(house: InProcess, box: str) -> None:
    root = files_of(house, box) / "run"
    root.mkdir()
    os.mknod(root / "socket", stat.S_IFSOCK | 0o600)
    assert names(get(house, box, "/run")) == ["run/"]


# Copying in


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress], ids=lambda one: one.__module__
)
def test_an_archive_comes_in_however_it_is_compressed(house: InProcess, box: str, compress: Any) -> None:
    assert put(house, box, "/etc", compress(layer([Entry("new", b"new\n", uid=7)]))) == (200, "")
    path = files_of(house, box) / "etc/new"
    assert (path.read_text(), path.stat().st_uid) == ("new\n", 7)


def test_whiteouts_are_files_like_any_other(house: InProcess, box: str) -> None:
    assert put(house, box, "/etc", layer([Entry(".wh.passwd"), Entry(".wh..wh..opq", b"x")])) == (200, "")
    assert {".wh.passwd", ".wh..wh..opq", "passwd"} <= set(os.listdir(files_of(house, box) / "etc"))


@pytest.mark.parametrize(
    ("content", "path", "status", "message"),
    [
        (b"no tar at all", "/etc", 400, "unexpected EOF: the tar is cut off"),
        (layer([Entry("x", b"content")])[:600], "/etc", 400, "unexpected EOF: the tar is cut off"),
        (gzip.compress(layer([Entry("x")]))[:-20], "/etc", 400, "gzip: unexpected EOF"),
        (layer([Entry("../x")]), "/etc", 400, '"../x" is outside of "/etc"'),
        (layer([Entry("a/../../x")]), "/etc", 400, '"a/../../x" is outside of "/etc"'),
        (layer([hard_link("x", "../etc/passwd")]), "/etc", 400, '"../etc/passwd" is outside of "/etc"'),
        (layer([]), "/etc/passwd", 400, "extraction point is not a directory"),
        (layer([]), "/nope", 404, "Could not find the file /nope in container {box}"),
    ],
)
def test_what_can_not_come_in_is_refused(
    house: InProcess, box: str, content: bytes, path: str, status: int, message: str
) -> None:
    assert put(house, box, path, content) == (status, message.format(box=box))


def test_links_in_the_way_stay_in_the_container(house: InProcess, box: str, tmp_path: Path) -> None:
    """One symlink is the container's, one the archive's; both point to a directory that exists on the host."""
    (tmp_path / "canary").write_text("sings")
    root = files_of(house, box)
    (root / "out").symlink_to(tmp_path)
    assert put(house, box, "/out", layer([Entry("canary", b"dead")]))[0] == 404
    hostile = layer([symlink("way", str(tmp_path)), Entry("way/canary", b"dead"), hard_link("twin", "way/canary")])
    assert put(house, box, "/etc", hostile) == (200, "")
    assert (tmp_path / "canary").read_text() == "sings"
    assert (root / str(tmp_path).lstrip("/") / "canary").read_text() == "dead"
    assert ask(house, "GET", where(box, "/out/other"))[0] == 404
    assert names(get(house, box, "/out/canary")) == ["canary"]


def test_files_and_directories_do_not_replace_each_other_if_so_asked(house: InProcess, box: str) -> None:
    root = files_of(house, box)
    (root / "d").mkdir()
    (root / "d/inner").write_text("kept")
    (root / "f").write_text("kept")
    keep = {"noOverwriteDirNonDir": "true"}
    assert put(house, box, "/", layer([Entry("d", b"x")]), **keep) == (
        400,
        'cannot overwrite directory "/d" with non-directory "/"',
    )
    assert put(house, box, "/", layer([directory("f")]), **keep) == (
        400,
        'cannot overwrite non-directory "/f" with directory "/"',
    )
    assert put(house, box, "/", layer([directory("d"), Entry("f", b"new")]), **keep) == (200, "")
    assert ((root / "d/inner").read_text(), (root / "f").read_text()) == ("kept", "new")
    assert put(house, box, "/", layer([Entry("d", b"x"), directory("f")])) == (200, "")
    assert ((root / "d").read_text(), (root / "f").is_dir()) == ("x", True)


def test_an_archive_can_be_given_to_the_containers_user(house: InProcess) -> None:
    id = house.create(User="boat")
    content = layer([Entry("mine", uid=5, gid=6)])
    assert put(house, id, "/etc", content, copyUIDGID="true") == (200, "")
    status = (files_of(house, id) / "etc/mine").stat()
    assert (status.st_uid, status.st_gid) == (1000, 1000)
    assert put(house, id, "/etc", content) == (200, "")
    assert (files_of(house, id) / "etc/mine").stat().st_uid == 5


# Mounts


def test_volumes_binds_and_tmpfs_are_in_place(house: InProcess, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    host = {
        "Binds": [f"{tmp_path}:/host", "cargo:/srv/cargo", f"{tmp_path / 'deep'}:/host/deep/ro:ro"],
        "Tmpfs": {"/scratch": ""},
    }
    id = house.create(HostConfig=host)
    for path in ("/host", "/srv/cargo", "/scratch"):
        assert put(house, id, path, layer([Entry("new", b"new")])) == (200, "")
    assert (tmp_path / "new").read_text() == "new"
    assert (house.root / "data/volumes/cargo/_data/new").read_text() == "new"
    assert not (files_of(house, id) / "scratch/new").exists()
    assert names(get(house, id, "/srv")) == ["srv/", "srv/cargo/", "srv/cargo/new"]
    assert put(house, id, "/host/deep/ro", layer([])) == (400, "mounted volume is marked read-only")
    assert put(house, id, "/host", layer([Entry("deep/ro/x")]))[0] == 500
    assert not (tmp_path / "deep/x").exists()


def test_a_read_only_root_takes_nothing_but_in_its_volumes(house: InProcess) -> None:
    id = house.create(HostConfig={"ReadonlyRootfs": True, "Binds": ["rw:/rw"], "Tmpfs": {"/scratch": ""}})
    assert put(house, id, "/etc", layer([])) == (400, "container rootfs is marked read-only")
    assert put(house, id, "/rw", layer([Entry("x")])) == (200, "")
    assert put(house, id, "/scratch", layer([Entry("x")])) == (200, "")


def test_a_link_out_of_a_volume_does_not_lead_around_a_read_only_root(house: InProcess) -> None:
    id = house.create(HostConfig={"ReadonlyRootfs": True, "Binds": ["linked:/rw"]})
    assert put(house, id, "/rw", layer([symlink("etc", "/etc")])) == (200, "")
    assert put(house, id, "/rw/etc", layer([Entry("x")])) == (400, "container rootfs is marked read-only")


# Events, clients and locking


def test_each_copy_is_an_event(house: InProcess, box: str) -> None:
    since = house.call("GET", "/info").body["SystemTime"]
    get(house, box, "/etc/passwd")
    put(house, box, "/etc", layer([]))
    ask(house, "GET", f"/containers/{box}/export")
    until = house.call("GET", "/info").body["SystemTime"]
    filters = quote(json.dumps({"container": [box]}))
    _, _, content = ask(house, "GET", f"/events?since={quote(since)}&until={quote(until)}&filters={filters}")
    actions = [json.loads(line)["Action"] for line in content.splitlines()]
    assert actions[-3:] == ["archive-path", "extract-to-dir", "export"]


def test_a_client_that_goes_away_ends_the_copy(house: InProcess, box: str) -> None:
    with (files_of(house, box) / "large").open("wb") as file:
        file.truncate(64 << 20)
        os.pwrite(file.fileno(), b"x" * (32 << 20), 0)
    with house.opened("GET", where(box, "/large")) as answer:
        assert len(answer.read(512)) == 512
    wait_until(lambda: not _running(house, "container_pack"), 60)
    with contextlib.closing(UnixConnection(house.socket)) as connection:
        connection.putrequest("PUT", where(box, "/etc"))
        connection.putheader("Content-Length", str(1 << 30))
        connection.endheaders()
        connection.send(layer([Entry("half", b"x" * 100_000)])[:50_000])
        wait_until(lambda: _running(house, "container_unpack"), 60)
    wait_until(lambda: not _running(house, "container_unpack"), 60)


def test_a_container_is_not_started_while_it_is_written_to(house: InProcess, box: str) -> None:
    content = layer([Entry("new", b"new")])
    with contextlib.closing(UnixConnection(house.socket)) as connection:
        connection.putrequest("PUT", where(box, "/etc"))
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders()
        connection.send(content[:512])
        wait_until(lambda: _running(house, "container_unpack"), 60)
        starting = house.begin(_started(house, box))
        assert house.call("GET", f"/containers/{box}/json").body["State"]["Status"] == "created"
        assert not starting.done()
        connection.send(content[512:])
        assert connection.getresponse().status == 200
    assert starting.result(60) is None
    assert house.call("POST", f"/containers/{box}/kill").status == 204
    assert house.call("POST", f"/containers/{box}/wait").status == 200


def test_the_files_that_name_things_are_there_after_the_first_start(house: InProcess) -> None:
    id = house.create("true", name="named", Hostname="harbour")
    assert b"harbour" not in get(house, id, "/etc/hostname")
    house.call("POST", f"/containers/{id}/start")
    house.call("POST", f"/containers/{id}/wait")
    told = house.call("GET", f"/containers/{id}/json").body
    assert Path(told["HostnamePath"]).read_text() == "harbour\n"
    sharing = house.create("true", name="sharing", HostConfig={"NetworkMode": "container:named"})
    for container in (id, sharing):
        assert b"harbour\n" in get(house, container, "/etc/hostname")
    assert house.call("DELETE", f"/containers/{id}").status == 204
    assert b"harbour" not in get(house, sharing, "/etc/hostname")
    assert house.call("DELETE", f"/containers/{sharing}").status == 204


# Export, changes, commit


def test_an_export_has_all_but_what_is_mounted(house: InProcess) -> None:
    id = house.create(HostConfig={"Binds": ["cargo2:/etc/cargo"]})
    put(house, id, "/etc/cargo", layer([Entry("x")]))
    status, headers, content = ask(house, "GET", f"/containers/{id}/export")
    assert (status, headers["content-type"]) == (200, "application/x-tar")
    found = names(content)
    assert {"etc/", "etc/passwd", "etc/cargo/", ".dockerenv"} <= set(found)
    assert "etc/cargo/x" not in found
    assert not any(name.startswith(("/", "./")) for name in found)


def test_changes_are_told(house: InProcess, box: str) -> None:
    assert house.call("GET", f"/containers/{box}/changes").body == []
    root = files_of(house, box)
    (root / "etc/new").write_text("x")
    (root / "etc/passwd").unlink()
    (root / "top").mkdir()
    assert house.call("GET", f"/containers/{box}/changes").body == [
        {"Path": "/etc", "Kind": 0},
        {"Path": "/etc/new", "Kind": 1},
        {"Path": "/etc/passwd", "Kind": 2},
        {"Path": "/top", "Kind": 1},
    ]


def test_a_commit_is_an_image_of_what_was_changed(house: InProcess) -> None:
    id = house.create("sh", "-c", "exit 3", Env=["A=1"], Labels={"x": "y"}, User="boat")
    root = files_of(house, id)
    _fill(root / "zoo")
    (root / "etc/passwd").unlink()
    made = _commit(house, id, "repo=made&tag=1&comment=hi&author=me&changes=" + quote('CMD ["ls"]\nENV B=2'))
    told = house.call("GET", f"/images/{made}/json").body
    assert (told["RepoTags"], told["Author"], told["Comment"]) == (["made:1"], "me", "hi")
    config = told["Config"]
    assert (config["Cmd"], config["Env"], config["User"]) == (["ls"], ["A=1", "PATH=/bin", "B=2"], "boat")
    assert config["Labels"] == {"x": "y"}
    assert len(told["RootFS"]["Layers"]) == 2
    child = house.create(Image="made:1")
    assert tree(files_of(house, child) / "zoo") == tree(root / "zoo")
    assert not (files_of(house, child) / "etc/passwd").exists()
    assert house.call("GET", f"/containers/{child}/changes").body == []
    assert house.call("DELETE", f"/containers/{child}").status == 204
    assert house.call("DELETE", "/images/made:1").status == 200


def test_a_commit_of_nothing_adds_no_layer(house: InProcess, box: str) -> None:
    made = _commit(house, box, "repo=same")
    assert len(house.call("GET", f"/images/{made}/json").body["RootFS"]["Layers"]) == 1
    assert house.call("DELETE", "/images/same").status == 200


def test_the_ancestors_of_a_container_are_the_images_that_its_own_was_made_of(house: InProcess) -> None:
    changed = house.create("true")
    (files_of(house, changed) / "new").write_text("x")
    made = _commit(house, changed, "repo=made")
    same = _commit(house, changed, "repo=same&changes=" + quote("LABEL a=b"))
    grandchild = _commit(house, house.create("true", name="of-made", Image=made), "repo=grandchild")
    house.create("true", name="of-grandchild", Image=grandchild)
    house.create("true", name="of-other", Image="labelled:1")
    found = {
        image: {name for name in house.ps({"ancestor": [image]}) if name.startswith("of-")}
        for image in (IMAGE, made, same, grandchild)
    }
    both = {"of-made", "of-grandchild"}
    assert found == {IMAGE: both, made: both, same: set(), grandchild: {"of-grandchild"}}
    for container in (changed, "of-made", "of-grandchild", "of-other"):
        house.call("DELETE", f"/containers/{container}")
    for image in ("grandchild", "same", "made"):
        assert house.call("DELETE", f"/images/{image}").status == 200


@pytest.mark.parametrize(("pause", "expected"), [("1", ["pause", "unpause", "commit"]), ("0", ["commit"])])
def test_a_commit_of_a_running_container_pauses_it(house: InProcess, pause: str, expected: list[str]) -> None:
    id = house.launch()
    (files_of(house, id) / "new").write_text("new")
    since = house.call("GET", "/info").body["SystemTime"]
    made = _commit(house, id, f"pause={pause}")
    until = house.call("GET", "/info").body["SystemTime"]
    filters = quote(json.dumps({"container": [id]}))
    _, _, content = ask(house, "GET", f"/events?since={quote(since)}&until={quote(until)}&filters={filters}")
    assert [json.loads(line)["Action"] for line in content.splitlines()] == expected
    assert house.state(id)["Status"] == "running"
    assert len(house.call("GET", f"/images/{made}/json").body["RootFS"]["Layers"]) == 2
    assert house.call("DELETE", f"/containers/{id}?force=1").status == 204


def test_a_commit_takes_a_configuration(house: InProcess, box: str) -> None:
    change = quote('ENTRYPOINT ["e"]')
    answer = house.call(
        "POST", f"/commit?container={box}&changes={change}", {"Cmd": ["given"], "WorkingDir": "/etc"}, JSON
    )
    assert answer.status == 201
    config = house.call("GET", f"/images/{answer.body['Id']}/json").body["Config"]
    assert (config["Entrypoint"], config.get("Cmd"), config["WorkingDir"]) == (["e"], None, "/etc")


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("container=nobody", 404, "No such container: nobody"),
        ("container={box}&changes=FROM+x", 400, "from is not a valid change command"),
        (
            "container={box}&repo=UPPER",
            400,
            "invalid reference format: repository name (library/UPPER) must be lowercase",
        ),
    ],
)
def test_a_commit_that_makes_no_sense(house: InProcess, box: str, query: str, status: int, message: str) -> None:
    answer = house.call("POST", f"/commit?{query.format(box=box)}")
    assert (answer.status, answer.message) == (status, message)


_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def _fill(zoo: Path) -> None:
    """One file of each type; times are whole seconds, as in a copy."""
    zoo.mkdir()
    (zoo / "file").write_bytes(b"x" * 300_000)
    (zoo / "file").chmod(0o6755)
    os.chown(zoo / "file", 3_000_000, 7)
    (zoo / "twin").hardlink_to(zoo / "file")
    (zoo / "empty").touch()
    (zoo / "link").symlink_to("../no/where")
    (zoo / "ping").write_text("ping")
    os.setxattr(zoo / "ping", "security.capability", _CAPABILITY)
    os.mkfifo(zoo / "fifo", 0o600)
    os.mknod(zoo / "device", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    with (zoo / "sparse").open("wb") as file:
        for offset in (0, 20 << 20, 40 << 20):
            os.pwrite(file.fileno(), b"data", offset)
        file.truncate(64 << 20)
    (zoo / ("long" * 60)).mkdir()
    (zoo / ("long" * 60) / ("name" * 60)).write_text("long")
    Path(os.fsdecode(bytes(zoo) + b"/\xff\xfe")).write_text("bytes")
    (zoo / "sticky").mkdir()
    (zoo / "sticky").chmod(0o1777)
    for path in sorted(zoo.rglob("*"), reverse=True):
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)
    os.utime(zoo, ns=(10**18, 10**18))


def _commit(house: InProcess, id: str, query: str) -> str:
    answer = house.call("POST", f"/commit?container={id}&{query}")
    assert answer.status == 201, answer
    return str(answer.body["Id"])


def _running(house: InProcess, job: str) -> bool:
    return any(one["Name"] == job and one["State"] == "running" for one in house.call("GET", "/jobs").body)


async def _started(house: InProcess, id: str) -> None:
    from sampan.engine import Job  # noqa: PLC0415
    from sampan.models import StartContainer  # noqa: PLC0415

    await house.engine.run(Job("container_start", StartContainer(name=id)))
