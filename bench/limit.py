"""What a pull can't do without on this machine, and what memory one takes."""

import contextlib
import hashlib
import multiprocessing
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.subjects import Subject, own_processes, proportional_bytes
from sampan.images.layer.decompress import BLOCK_BYTES, decompress, sniff

_LOOK_S = 0.05


def physical_limit_s(blobs: Sequence[Path], directory: Path) -> float:
    """Seconds for reading the layers in `blobs`, hashing and decompressing them, hashing what comes out, and writing
    that below `directory`, each layer into one file. A process for each processor, and nothing else."""
    largest_first = sorted(blobs, key=lambda path: -path.stat().st_size)
    with multiprocessing.get_context("forkserver").Pool() as processes:
        processes.map(_ready, range(multiprocessing.cpu_count()))
        began = time.perf_counter()
        processes.starmap(_write, [(blob, directory / blob.name) for blob in largest_first], chunksize=1)
        return time.perf_counter() - began


def _ready(number: int) -> None:
    pass


def _write(blob: Path, target: Path) -> None:
    compressed, plain = hashlib.sha256(), hashlib.sha256()
    with blob.open("rb", buffering=0) as source, target.open("wb", buffering=0) as file:
        compression, chunks = sniff(iter(lambda: source.read(BLOCK_BYTES), b""))
        for block in decompress(compression, chunks):
            plain.update(block)
            file.write(block)
        source.seek(0)
        while chunk := source.read(BLOCK_BYTES):
            compressed.update(chunk)


def most_bytes(subject: Subject, command: Sequence[str]) -> int:
    """The most that `subject` held at any of the moments it was looked at while `command` ran, which must succeed."""
    most = 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a worker has just ended
                pids = own_processes(subject.root, subject.daemon_pid())
                most = max(most, sum(map(proportional_bytes, pids)))
            time.sleep(_LOOK_S)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {process.returncode}")
    return most
