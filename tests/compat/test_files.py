"""cp, diff, export and commit: the same results and messages from both engines and both clients."""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.trees import differences, tree

IMAGE = "busybox:test"
BOX = "box"
FILL = """
mkdir -p /d/sub; echo hi >/d/f; ln /d/f /d/hard; ln -s f /d/link; ln -s /d /way; ln -s no/where /dangling
mkfifo /d/fifo; chown 1000:2000 /d/hard; chmod 4755 /d/f; echo kept >/srv/kept
touch -d @1000000000 /d/f /d/sub; touch -h -d @1000000000 /d/link; touch /ready
"""


@pytest.fixture
def box(client: Client) -> Iterator[Client]:
    """The client, with a running container named `box` that has all kinds of files and a volume at /srv."""
    script = f"{FILL}exec sleep 1000"
    client("run", "-d", "--name", BOX, "-v", "/srv", "-v", "/srv/lower", IMAGE, "sh", "-c", script)
    client("exec", BOX, "sh", "-c", "while ! [ -e /ready ]; do sleep 0.1; done")
    yield client
    client("rm", "-f", "-v", BOX)


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a tree `x`, a file `s` and symlinks to both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/a").write_text("a\n")
    (tmp_path / "s").write_text("single\n")
    (tmp_path / "s").chmod(0o600)
    os.chown(tmp_path / "s", 33, 44)
    (tmp_path / "to-x").symlink_to("x")
    (tmp_path / "to-s").symlink_to("s")
    return tmp_path


def inside(client: Client, path: str) -> list[str]:
    """The files at and below a container path: type and mode, owner, size, link target."""
    out = client("exec", BOX, "sh", "-c", f"find {path} -exec stat -c '%n %A %u:%g %s %N' {{}} \\; | sort")
    return out.splitlines()


def names(client: Client, path: str) -> list[str]:
    """The names in the archive that `cp PATH -` writes."""
    done = subprocess.run(client.command("cp", f"{BOX}:{path}", "-"), check=True, capture_output=True)
    listed = subprocess.run(["tar", "tPf", "-"], input=done.stdout, check=True, capture_output=True)
    return listed.stdout.decode().split()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("box:/nope", "."), "Error response from daemon: Could not find the file /nope in container box"),
        (("box:/d", "s"), "cannot copy directory"),
        (("box:/d/f", "nodir/"), "no such directory"),
        (("box:/d/f", "nodir/x"), 'invalid output path: directory "{local}/nodir" does not exist'),
        (("x", "box:/d/f"), "cannot copy directory"),
        (("s", "box:/d/nodir/"), "no such directory"),
        (("s", "box:/nodir/y"), "Error response from daemon: Could not find the file /nodir in container box"),
        (("nofile", "box:/"), "lstat {local}/nofile: no such file or directory"),
        (("a", "b"), "must specify at least one container source"),
        (("box:/d", "other:/d"), "copying between containers is not supported"),
        (("", "box:/"), "source can not be empty"),
        (("nobody:/x", "."), "Error response from daemon: No such container: nobody"),
        (("-", "box:/d/f"), 'destination "box:/d/f" must be a directory'),
    ],
)
def test_what_can_not_be_copied_is_told_in_the_same_words(
    box: Client, local: Path, words: tuple[str, str], error: str
) -> None:
    done = box.run("cp", *words)
    told = [line for line in done.stderr.splitlines() if "level=error" not in line]  # from docker's tar writer
    assert (done.returncode, told) == (1, [error.format(local=local)])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/d", ["d/", "d/f", "d/fifo", "d/hard", "d/link", "d/sub/"]),
        ("/way", ["way"]),
        ("/way/", ["way/", "way/f", "way/fifo", "way/hard", "way/link", "way/sub/"]),
        ("/d/.", ["./", "./f", "./fifo", "./hard", "./link", "./sub/"]),
        ("/srv", ["srv/", "srv/kept", "srv/lower/"]),
    ],
)
def test_an_archive_has_the_same_names(box: Client, path: str, expected: list[str]) -> None:
    assert names(box, path) == expected


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (("x", "box:/tmp/new"), ["/tmp/new", "/tmp/new/a", "/tmp/new/y"]),
        (("x/.", "box:/tmp/new"), ["/tmp/new", "/tmp/new/a", "/tmp/new/y"]),
        (("x", "box:/d/sub"), ["/d/sub", "/d/sub/x", "/d/sub/x/a", "/d/sub/x/y"]),
        (("x/.", "box:/d/sub"), ["/d/sub", "/d/sub/a", "/d/sub/y"]),
        (("to-x", "box:/tmp/new"), ["/tmp/new"]),
        (("-L", "to-x", "box:/tmp/new"), ["/tmp/new", "/tmp/new/a", "/tmp/new/y"]),
        (("to-x/", "box:/tmp"), ["/tmp/to-x", "/tmp/to-x/a", "/tmp/to-x/y"]),
        (("s", "box:/way/sub"), ["/d/sub", "/d/sub/s"]),
        (("-L", "to-s", "box:/tmp"), ["/tmp/to-s"]),
    ],
)
def test_what_is_copied_in_gets_the_same_names(
    box: Client, local: Path, words: tuple[str, ...], made: list[str]
) -> None:
    box("cp", *words)
    assert [line.split()[0] for line in inside(box, made[0])] == made


def test_a_file_keeps_mode_and_owner_on_the_way_in(box: Client, local: Path) -> None:
    box("cp", "s", f"{BOX}:/tmp/s")
    assert inside(box, "/tmp/s") == ["/tmp/s -rw------- 33:44 7 /tmp/s"]


def test_what_is_copied_out_and_in_is_the_same(box: Client, local: Path) -> None:
    box("cp", f"{BOX}:/d", "out")
    assert (local / "out/f").stat().st_mode & 0o7777 == 0o4755
    assert (local / "out/f").samefile(local / "out/hard")
    assert int((local / "out/f").stat().st_mtime) == 1_000_000_000
    assert os.readlink(local / "out/link") == "f"
    (local / "out/f").chmod(0o755)  # dockerd chowns the second hard link, which clears setuid
    box("cp", "out", f"{BOX}:/tmp/back")
    box("cp", f"{BOX}:/tmp/back", "again")
    assert differences(tree(local / "again"), tree(local / "out")) == []


def test_a_tar_goes_in_and_out_through_pipes(box: Client, local: Path) -> None:
    with tarfile.open("t.tar", "w") as archive:
        archive.add("x")
    with Path("t.tar").open("rb") as content:
        subprocess.run(box.command("cp", "-", f"{BOX}:/tmp"), stdin=content, check=True)
    assert names(box, "/tmp/x") == ["x/", "x/a", "x/y/"]


@pytest.mark.parametrize("state", ["running", "stopped", "created"])
def test_volumes_are_seen_whether_it_runs_or_not(client: Client, engine: object, local: Path, state: str) -> None:
    client("create", "--name", state, "-v", f"{local / 'x'}:/bound", "-v", "/srv/volume", IMAGE, "sleep", "1000")
    if state != "created":
        client("start", state)
    if state == "stopped":
        client("stop", "-t", "0", state)
    for path in ("/bound", "/srv/volume"):
        client("cp", "s", f"{state}:{path}/s")
        client("cp", f"{state}:{path}/s", "back")
        assert Path("back").read_text() == "single\n"
    assert (local / "x/s").exists()
    client("rm", "-f", "-v", state)


def test_read_only_places_take_nothing(client: Client, engine: object, local: Path) -> None:
    options = ("--read-only", "-v", f"{local}:/ro:ro", "-v", "/rw")
    client("run", "-d", "--name", "closed", *options, IMAGE, "sleep", "1000")
    for path, reason in (
        ("/", "container rootfs is marked read-only"),
        ("/ro", "mounted volume is marked read-only"),
    ):
        done = client.run("cp", "s", f"closed:{path}")
        assert (done.returncode, done.stderr) == (1, f"Error response from daemon: {reason}\n")
    client("cp", "s", "closed:/rw")


def test_a_diff_tells_what_was_changed(box: Client) -> None:
    box("exec", BOX, "sh", "-c", "rm /etc/group; echo x >>/etc/passwd; rmdir /home; mkdir /home; chmod 700 /www")
    box("exec", BOX, "sh", "-c", "touch /var/gone; rm /var/gone; rm -r /root; echo x >/root; cp -p /bin/sh /tmp")
    expected = {
        *("A /d", "A /d/f", "A /d/fifo", "A /d/hard", "A /d/link", "A /d/sub", "A /dangling", "A /ready", "A /way"),
        *("A /srv", "A /tmp/sh", "C /etc", "C /etc/passwd", "C /root", "C /tmp", "C /www", "D /etc/group"),
    }
    assert set(box("diff", BOX).splitlines()) == expected
    box("stop", "-t", "0", BOX)
    assert set(box("diff", BOX).splitlines()) == expected


def test_an_export_becomes_an_equal_image(box: Client, local: Path) -> None:
    box("export", "-o", "whole.tar", BOX)
    box("import", "whole.tar", "imported:test")
    box("create", "--name", "twin", "imported:test", "sh")
    box("export", "-o", "twin.tar", "twin")
    for name in ("whole", "twin"):
        (local / name).mkdir()
        subprocess.run(["tar", "xpf", f"{name}.tar", "-C", name, "--numeric-owner"], check=True)
    own = {".dockerenv", "dev", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc", ".", "etc/mtab"}
    whole, twin = tree(local / "whole"), tree(local / "twin")
    told = [line for line in differences(whole, twin) if line.partition(":")[0] not in own and "dev/" not in line]
    assert told == []
    assert "srv" in whole and "srv/kept" not in whole
    box("rm", "twin")
    box("rmi", "imported:test")


def test_a_commit_runs_as_the_container_was_left(box: Client, local: Path) -> None:
    box("exec", BOX, "sh", "-c", "rm /etc/group; rm -r /home; mkdir /home; touch /home/new; ln -s x /etc/link")
    change = ("-c", 'CMD ["cat", "/d/f"]', "-c", "ENV PLANK=storage", "-c", "LABEL a=b")
    box("commit", "-a", "me", "-m", "why", *change, BOX, "committed:test")
    assert box("run", "--rm", "committed:test") == "hi"
    there = "test ! -e /etc/group && ls /home /srv && echo $PLANK && stat -c '%A %u:%g %Y %h' /d/f"
    assert box("run", "--rm", "committed:test", "sh", "-c", there).splitlines() == [
        *("/home:", "new", "", "/srv:", "lower", "storage", "-rwsr-xr-x 1000:2000 1000000000 2"),
    ]
    told = box(
        "inspect", "-f", "{{.Author}} {{.Comment}} {{.Config.Labels.a}} {{len .RootFS.Layers}}", "committed:test"
    )
    assert told == "me why b 2"
    box("rmi", "committed:test")
