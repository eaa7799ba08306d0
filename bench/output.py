"""Output of containers: a large amount through an attached client, and reading a long log."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.subjects import Subject

LINE = b"x" * 99 + b"\n"
TEXT_BYTES = 50_000_000
TIMES = 10
LOG_LINES = 200_000


def seconds_unread(command: list[str]) -> float:
    """The duration of a command, which must succeed and whose output is discarded."""
    began = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


class AttachedOutput:
    """`run` of a container that writes 500 MB in lines of 100 bytes, which the client discards."""

    title = f"`run --rm` of {TEXT_BYTES * TIMES // 1_000_000} MB of output, attached"

    def __init__(self, image: str) -> None:
        self._image = image
        self._directory = ""

    @contextmanager
    def around(self, subject: Subject) -> Iterator[None]:
        """Write the text to the host, as a program that generates it would be slower than the engine."""
        with tempfile.TemporaryDirectory(prefix="text", dir=subject.root.parent) as directory:
            Path(directory, "text").write_bytes(LINE * (TEXT_BYTES // len(LINE)))
            self._directory = directory
            yield

    def sample(self, subject: Subject) -> float:
        words = ("--rm", "--network", "none", "--volume", f"{self._directory}:/text:ro", self._image)
        return seconds_unread(subject.client(*subject.run_words(*words, "cat", *["/text/text"] * TIMES)))


class LongLog:
    """`logs` of a container that has written many lines, all of which are kept, and has ended."""

    title = f"`logs` of {LOG_LINES:,} lines"

    def __init__(self, image: str) -> None:
        self._image = image

    @contextmanager
    def around(self, subject: Subject) -> Iterator[None]:
        script = f"seq 1 {LOG_LINES} | sed 's/$/: a line as long as those of most logs, more or less/'"
        subject.do(*subject.run_words("--name", "talker", "--network", "none", self._image, "sh", "-c", script))
        try:
            yield
        finally:
            subject.do("rm", "--force", "talker")

    def sample(self, subject: Subject) -> float:
        return seconds_unread(subject.client("logs", "talker"))
