"""Impossible requests: one clear error, nothing left behind, and the daemon keeps running."""

import os
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import IMAGE, call, create, eventually, run, send
from tests.support.engines import Engine, Sampand, running
from tests.support.images import Entry, docker_archive, layer

pytestmark = pytest.mark.root
DISK_MIB = 24
CHANGING = frozenset({".db", ".db-wal", ".db-shm", ".log"})
WRITTEN_AT_STARTS = frozenset({"hostname", "hosts", "resolv.conf"})


@pytest.fixture(scope="module")
def engine(session_dir: Path, leak_marks: list[str], archives: Archives) -> Iterator[Sampand]:
    """An engine whose data root is on a small disk of its own."""
    engine = Sampand(Path(mkdtemp(prefix="b", dir=session_dir)))
    leak_marks.extend(engine.marks)
    engine.data_root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(engine.data_root)]
    subprocess.run(mount, check=True)
    try:
        with running(engine):
            Client("docker", engine)("load", "-q", "-i", str(archives.busybox))
            run(engine, "first")  # creates what all containers of an image share
            yield engine
    finally:
        subprocess.run(["umount", str(engine.data_root)], check=True)
        engine.data_root.rmdir()
        engine.root.rmdir()


@pytest.fixture(autouse=True)
def no_containers_left(engine: Sampand) -> Iterator[None]:
    yield
    engine.remove_containers()


def files(engine: Engine) -> set[str]:
    """All but the snapshots' files (deleted in the background), the database's, logs, and what each start rewrites
    in its container's directory."""
    found = (path.relative_to(engine.data_root) for path in engine.data_root.rglob("*"))
    lasting = (path for path in found if path.parts[0] != "drivers" and path.name not in WRITTEN_AT_STARTS)
    return {str(path) for path in lasting if not CHANGING.intersection(path.suffixes)}


class Filled:
    """Fills the data root's disk to the last byte while the context is active."""

    def __init__(self, engine: Engine) -> None:
        self._file = engine.data_root / "filling"
        self._trash = engine.data_root / "drivers/overlayfs/trash"

    def __enter__(self) -> None:
        assert eventually(lambda: not list(self._trash.iterdir()), 30)  # pending deletions would free space again
        with self._file.open("wb", buffering=0) as filling:
            for size in (1 << 20, 4096):
                try:
                    while filling.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def __exit__(self, *_: object) -> None:
        self._file.unlink()


# --- a full disk


def test_an_image_larger_than_the_disk_leaves_nothing(engine: Sampand, tmp_path: Path) -> None:
    before, listed = files(engine), engine.get("/images/json")
    large = layer([Entry(f"part{n}", random.randbytes(4 << 20)) for n in range(DISK_MIB // 4)])
    docker_archive(tmp_path / "large.tar", "large:1", [large])
    for path, content in (
        ("/images/load?quiet=1", (tmp_path / "large.tar").read_bytes()),
        ("/images/create?fromSrc=-&repo=large", large),
    ):
        status, answer = send(engine, path, content)
        assert "no space left on device" in answer.lower(), (status, answer)
    assert (files(engine), engine.get("/images/json")) == (before, listed)


def test_what_fails_on_a_full_disk_works_with_room_again(engine: Sampand) -> None:
    create(engine, "ready")
    before = files(engine)
    with Filled(engine):
        for path, body in (
            ("/containers/create?name=new", {"Image": IMAGE, "HostConfig": {"Binds": ["full:/data"]}}),
            ("/volumes/create", {"Name": "full"}),
            ("/containers/ready/start", None),
        ):
            status, answer = call(engine, "POST", path, body)  # small writes may just fit
            assert status in (201, 204) or (status == 500 and "disk is full" in answer["message"]), answer
    call(engine, "DELETE", "/containers/new")
    call(engine, "DELETE", "/volumes/full")
    assert files(engine) == before
    assert call(engine, "POST", "/containers/ready/start")[0] in (204, 304)
    create(engine, "new", host={"Binds": ["full:/data"]})
    assert call(engine, "DELETE", "/containers/new")[0] == 204
    assert call(engine, "DELETE", "/volumes/full")[0] == 204


def test_what_runs_on_a_full_disk_runs_on(engine: Sampand) -> None:
    run(engine, "busy", "sh", "-c", "while read x; do echo $x; done; exit 3", OpenStdin=True, StdinOnce=True)
    docker = Client("docker", engine)
    with Filled(engine):
        assert docker("exec", "busy", "echo", "here") == "here"
        assert docker.run("exec", "busy", "sh", "-c", "head -c 100000 /dev/zero >/file").returncode == 1
        attached = docker.run("attach", "busy", stdin="heard\n")
        assert (attached.returncode, attached.stdout) == (3, "heard\n")
        assert call(engine, "POST", "/containers/busy/wait") == (200, {"StatusCode": 3})
    assert call(engine, "POST", "/containers/busy/start")[0] == 204


# --- archives and requests


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda whole: whole[: len(whole) // 2], "unexpected EOF"),
        (lambda whole: random.randbytes(20_000), "invalid tar header"),
        (lambda whole: b"", "manifest.json"),
        (lambda whole: layer([Entry("whole", whole)]), "manifest.json"),
    ],
    ids=["cut off", "noise", "empty", "no manifest"],
)
def test_a_corrupt_archive_is_refused_and_leaves_nothing(
    engine: Sampand, archives: Archives, spoil: Callable[[bytes], bytes], complaint: str
) -> None:
    before = files(engine)
    status, answer = send(engine, "/images/load?quiet=1", spoil(archives.busybox.read_bytes()))
    assert status == 400 and complaint in answer, (status, answer)
    assert files(engine) == before


def test_a_port_of_another_program_is_refused(engine: Sampand) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        create(engine, "late", host={"PortBindings": {"80/tcp": [{"HostPort": str(port)}]}})
        status, answer = call(engine, "POST", "/containers/late/start")
        assert status == 500 and "address already in use" in answer["message"]
    assert call(engine, "POST", "/containers/late/start")[0] == 204


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("--network", "nowhere", IMAGE, "true"), 125, "network nowhere not found"),
        (("--network", "container:nobody", IMAGE, "true"), 125, "No such container: nobody"),
        (
            ("-v", "/proc/nowhere/x:/data", IMAGE, "true"),
            125,
            "error while creating mount source path '/proc/nowhere/x'",
        ),
        (("-v", "a" * 300 + ":/data", IMAGE, "true"), 125, "file name too long"),
        (("--read-only", IMAGE, "touch", "/x"), 1, "Read-only file system"),
        (("-u", "nobody-here", IMAGE, "true"), 125, "unable to find user nobody-here"),
        ((IMAGE, "no-such-command"), 127, "executable file not found in $PATH"),
        (("--pull", "never", "no-such-image", "true"), 125, "No such image: no-such-image:latest"),
    ],
    ids=["network", "shared network", "bind source", "volume", "read-only", "user", "command", "image"],
)
def test_what_cannot_run_says_why_and_is_gone(
    engine: Sampand, words: tuple[str, ...], code: int, complaint: str
) -> None:
    done = Client("docker", engine).run("run", "--rm", *words)
    assert done.returncode == code and complaint in done.stderr, done.stderr
    assert "Unable to find image" not in done.stderr
    assert [one["Names"] for one in engine.get("/containers/json?all=1") if one["State"] != "running"] == []


# --- a daemon that can't start


def fails_to_start(root: Path, *flags: str, **environment: str) -> str:
    """The last line it prints; it fails at once, without a traceback, and leaves no socket or PID file."""
    engine = Sampand(root, flags)
    done = subprocess.run(
        engine.command(), env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not engine.socket.exists() and not engine.pid_file.exists()
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sampand: ")
    return last


@pytest.fixture
def root(session_dir: Path) -> Path:
    return Path(mkdtemp(prefix="x", dir=session_dir))


def test_an_unknown_driver_names_the_package_to_install(root: Path) -> None:
    said = fails_to_start(root, "--storage-driver", "nope")
    assert said == 'sampand: storage driver "nope" is not installed: pip install sampan-nope'


def test_a_selected_plugin_that_raises_is_named(root: Path) -> None:
    information = root / "plugin/bad_plank-1.2.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plank\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text("[sampan]\nbad = bad_plank\n")
    (root / "plugin/bad_plank.py").write_text("raise RuntimeError('rotten')\n")
    said = fails_to_start(root, "--storage-driver", "bad", PYTHONPATH=str(root / "plugin"))
    assert said == 'sampand: storage driver "bad" can\'t be loaded: bad-plank 1.2: RuntimeError: rotten'


def test_missing_programs_are_named(root: Path) -> None:
    programs = root / "bin"
    programs.mkdir()
    assert "conmon is not installed" in fails_to_start(root, PATH=str(programs))
    (programs / "conmon").symlink_to("/usr/bin/conmon")
    assert "no OCI runtime works on this host" in fails_to_start(root, PATH=str(programs))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{broken", "unable to configure the daemon with file"),
        ('{"nonsense": 1}', "don't match any configuration option"),
    ],
    ids=["no JSON", "unknown setting"],
)
def test_a_bad_configuration_file_is_named(root: Path, content: str, complaint: str) -> None:
    (root / "config.json").write_text(content)
    assert complaint in fails_to_start(root, "--config-file", str(root / "config.json"))


def test_a_pid_file_that_cannot_be_is_named(root: Path) -> None:
    assert "/proc/nowhere" in fails_to_start(root, "--pidfile", "/proc/nowhere/pid")


@pytest.mark.parametrize("database", ["state.db", "drivers/overlayfs/metadata.db"])
def test_a_damaged_database_is_named_and_left_as_it_is(root: Path, database: str) -> None:
    path = root / "data" / database
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 1000)
    said = fails_to_start(root)
    assert str(path) in said and "file is not a database" in said
    assert path.read_bytes() == b"no database" * 1000


def test_a_data_root_in_use_is_refused_and_its_daemon_goes_on(engine: Sampand, root: Path) -> None:
    said = fails_to_start(root, "--data-root", str(engine.data_root))
    assert said == f"sampand: another sampand runs on the data root {engine.data_root}"
    assert engine.request("GET", "/_ping")[0] == 200
