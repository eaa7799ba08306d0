"""The `journald` log driver against a real journald in its own mount namespace."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import IMAGE, eventually, held_by
from tests.support.engines import Sampand, running

JOURNALD = Path("/lib/systemd/systemd-journald")
# /run/log keeps the journal in memory, and the host's journal is untouched.
IN_OWN_PLACE = (
    "mount --make-rprivate / && mkdir -p /run/systemd /run/log && mount -t tmpfs none /run/systemd && "
    f"mount -t tmpfs none /run/log && mkdir -p /run/systemd/journal /run/log/journal && exec {JOURNALD}"
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not JOURNALD.exists(), reason="systemd-journald is not installed"),
]


class JournalledSampand(Sampand):
    """The daemon in a mount namespace that has a journal."""

    def __init__(self, root: Path, journald: int) -> None:
        super().__init__(root)
        self.inside = ["nsenter", "--target", str(journald), "--mount"]

    def command(self) -> list[str]:
        return [*self.inside, *super().command()]

    def journal(self, *matches: str) -> list[dict[str, str]]:
        """The matching entries, oldest first, after syncing the journal."""
        subprocess.run([*self.inside, "journalctl", "--sync"], check=True)
        command = [*self.inside, "journalctl", "--no-pager", "--all", "-o", "json", *matches]
        lines = subprocess.run(command, capture_output=True, check=True).stdout.splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def journald() -> Iterator[int]:
    command: Sequence[str] = ("unshare", "--mount", "sh", "-c", IN_OWN_PLACE)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            assert eventually(Path(f"/proc/{process.pid}/root/run/systemd/journal/socket").exists)
            yield process.pid
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def engine(
    session_dir: Path, leak_marks: list[str], archives: Archives, journald: int
) -> Iterator[JournalledSampand]:
    engine = JournalledSampand(Path(mkdtemp(prefix="j", dir=session_dir)), journald)
    leak_marks.extend(engine.marks)
    with running(engine):
        Client("docker", engine)("load", "-q", "-i", str(archives.busybox))
        yield engine


def test_what_a_container_writes_is_in_the_journal_and_in_its_logs(engine: JournalledSampand) -> None:
    docker = Client("docker", engine)
    options = ("--log-driver", "journald", "--log-opt", "tag=ark", "--log-opt", "labels=tier", "--label", "tier=back")
    long = "head -c 40000 /dev/zero | tr '\\0' x; echo"
    docker("run", "--name", "web", *options, IMAGE, "sh", "-c", f"echo said; echo wrong >&2; {long}")
    assert eventually(lambda: len(engine.journal("CONTAINER_NAME=web")) >= 5)
    found = engine.journal("CONTAINER_NAME=web")
    told = [(one["MESSAGE"], one["PRIORITY"]) for one in found if len(one["MESSAGE"]) < 100]
    assert sorted(told) == [("said", "6"), ("wrong", "3")]
    assert {(one["SYSLOG_IDENTIFIER"], one["TIER"], one["IMAGE_NAME"]) for one in found} == {("ark", "back", IMAGE)}
    parts = [one for one in found if "CONTAINER_PARTIAL_ID" in one]
    assert "".join(one["MESSAGE"] for one in parts) == "x" * 40000
    assert [one.get("CONTAINER_PARTIAL_MESSAGE") for one in parts] == ["true", "true", None]
    assert docker("logs", "web").splitlines()[0] == "said"
    assert "journald" in docker("info", "-f", "{{.Plugins.Log}}")
    docker("rm", "web")


def test_no_line_is_lost_or_told_twice_over_a_restart_of_the_daemon(engine: JournalledSampand) -> None:
    docker = Client("docker", engine)
    lines = 'i=0; while [ $i -lt 3000 ]; do echo "line $i"; i=$((i+1)); done; read x; echo end'
    docker("run", "-d", "-i", "--name", "many", "--log-driver", "journald", IMAGE, "sh", "-c", lines)
    engine.stop()
    engine.start()
    assert eventually(lambda: docker("logs", "--tail", "1", "many") == "line 2999", 60)
    docker("kill", "many")
    assert eventually(lambda: len(engine.journal("CONTAINER_NAME=many")) >= 3000)
    told = [one["MESSAGE"] for one in engine.journal("CONTAINER_NAME=many")]
    assert told == [f"line {number}" for number in range(3000)]
    docker("rm", "many")


def test_the_daemon_holds_nothing_of_a_log_that_is_told(engine: JournalledSampand) -> None:
    docker = Client("docker", engine)
    assert engine.process is not None
    pid = engine.process.pid  # nsenter has exec'd the daemon
    before = held_by(pid)
    for _ in range(5):
        docker("run", "--rm", "--log-driver", "journald", IMAGE, "echo", "hi")
    assert eventually(lambda: len(held_by(pid)) <= len(before)), (before, held_by(pid))
