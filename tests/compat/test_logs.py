"""Logs rotated while being written, read and followed; the daemon killed in the middle."""

import os
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Dockerd, Engine

IMAGE = "busybox:test"
LINES = 200_000
ROTATED = ("--log-opt", "max-size=64k", "--log-opt", "max-file=1000")
COUNT = f"seq 1 {LINES // 2}; read go; seq {LINES // 2 + 1} {LINES}"


def numbers(text: str) -> list[int]:
    return [int(line) for line in text.split()]


def test_a_follower_sees_every_line_once_over_many_files(client: Client) -> None:
    client("run", "-di", "--name", "talker", *ROTATED, IMAGE, "sh", "-c", COUNT)
    following = client.spawn("logs", "-f", "talker")
    assert following.stdout
    first = [int(following.stdout.readline()) for _ in range(1000)]
    typing = client.spawn("attach", "talker")
    assert typing.stdin and typing.stdout
    typing.stdin.write("go\n")
    typing.stdin.close()
    assert first + numbers(following.stdout.read()) == list(range(1, LINES + 1))
    assert numbers(typing.stdout.read())[-1] == LINES
    assert numbers(client("logs", "talker")) == list(range(1, LINES + 1))
    assert numbers(client("logs", "--tail", "50000", "talker")) == list(range(LINES - 49_999, LINES + 1))
    assert client("logs", "--since", "2001-01-01", "--until", "2001-01-02", "talker") == ""


def test_of_a_log_with_few_files_the_end_is_kept(client: Client) -> None:
    few = ("--log-opt", "max-size=64k", "--log-opt", "max-file=3")
    client("run", "--name", "talker", *few, IMAGE, "seq", "1", str(LINES))
    kept = numbers(client("logs", "talker"))[1:]  # the first may be the tail of a truncated line
    assert kept == list(range(LINES - len(kept) + 1, LINES + 1))


def test_a_killed_daemon_loses_and_doubles_no_line(start_engine: Callable[..., Engine], archives: Archives) -> None:
    engine = start_engine()
    if isinstance(engine, Dockerd):
        pytest.skip("dockerd's containers block or die with it")
    with closing(Client("docker", engine)) as docker:
        docker("load", "--input", str(archives.busybox))
        docker("run", "-d", "--name", "talker", *ROTATED, IMAGE, "seq", "1", str(LINES))
        following = docker.spawn("logs", "-f", "talker")
        assert following.stdout
        for _ in range(1000):
            following.stdout.readline()
        engine.kill()
        engine.start()
        assert docker("wait", "talker") == "0"
        assert numbers(docker("logs", "talker")) == list(range(1, LINES + 1))


def test_what_was_written_with_no_daemon_is_bounded(
    start_engine: Callable[..., Engine], archives: Archives, tmp_path: Path
) -> None:
    """80 MB of log with a limit of 3 × 64 KiB; conmon on its own starts over after 16 MiB."""
    engine = start_engine()
    if isinstance(engine, Dockerd):
        pytest.skip("dockerd's containers block or die with it")
    for name in ("go", "said"):
        os.mkfifo(tmp_path / name)
    script = "read x </mnt/go; seq 1 1500000; echo all >/mnt/said; read x </mnt/go"
    with closing(Client("docker", engine)) as docker:
        docker("load", "--input", str(archives.busybox))
        few = ("--log-opt", "max-size=64k", "--log-opt", "max-file=3")
        id = docker("run", "-d", "--name", "talker", *few, "-v", f"{tmp_path}:/mnt", IMAGE, "sh", "-c", script)
        engine.kill()
        (tmp_path / "go").write_text("go\n")
        assert (tmp_path / "said").read_text() == "all\n"
        numbered = (engine.data_root / "containers" / id).glob("output.log.*")
        assert sum(path.stat().st_size for path in numbered) < 40 << 20
        engine.start()
        (tmp_path / "go").write_text("end\n")
        assert docker("wait", "talker") == "0"
        kept = numbers(docker("logs", "talker"))
        assert kept[-1] == 1_500_000
        assert all(one < other for one, other in pairwise(kept[1:])), "what is gone leaves a gap, and nothing twice"


def test_a_line_of_a_megabyte_comes_back_whole(client: Client) -> None:
    script = "head -c 1048576 /dev/zero | tr '\\0' x; echo; echo end"
    client("run", "--name", "talker", IMAGE, "sh", "-c", script)
    assert client("logs", "talker") == "x" * (1 << 20) + "\nend"
    assert client("logs", "--tail", "2", "talker") == "x" * (1 << 20) + "\nend"
    if not isinstance(client.engine, Dockerd):  # dockerd counts and timestamps each 16 KiB chunk as a line
        assert client("logs", "--tail", "2", "-t", "talker").count("Z ") == 2
