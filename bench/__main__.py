"""`make bench`: the same works on sampan, Docker and Podman, interleaved, in one run.

    make bench ARGS='--engines sampand,dockerd --works run_bridge,exec --rounds 20'

Everything happens in separate network and mount namespaces, so that three engines can have their bridges and rules
side by side, and nothing is left on the host.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bench import report
from bench.content import write_layout
from bench.network import NETWORK_WORKS
from bench.subjects import SUBJECTS, Subject
from bench.works import IMAGE, WORKS, ImageWorks, Work
from tests.support.images import busybox_archive
from tests.support.registry import Registry

OWN_WORKS = (*WORKS, *NETWORK_WORKS)
IMAGE_WORKS = ["pull", "pull_limit", "pull_memory", "push", "load", "save"]
ALL_WORKS = [*(work.name for work in OWN_WORKS), *IMAGE_WORKS]
INSIDE = "SAMPAN_BENCH_INSIDE"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description="sampan, Docker and Podman side by side")
    parser.add_argument("--engines", type=names, default=list(SUBJECTS), help=f"of {','.join(SUBJECTS)}")
    parser.add_argument("--works", type=names, help=f"of {','.join(ALL_WORKS)} [all]")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slow-rounds", type=int, default=3, help="rounds of the pull and of the memory works")
    parser.add_argument("--pull-gb", type=float, default=1.35, help="size of the pulled image, unpacked")
    parser.add_argument("--output", type=Path, default=Path("bench/results"))
    return parser.parse_args()


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def enter_own_namespaces() -> None:
    """Restart this program in its own network and mount namespaces. Does not return the first time."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for directory in ("/var/lib/cni", "/run/netns"):
            Path(directory).mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "bench", directory], check=True)
        return
    os.environ[INSIDE] = "1"
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):  # a developer's settings, not an engine's
        os.environ.pop(name, None)
    os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, "-m", "bench", *sys.argv[1:]])


@contextmanager
def started(kinds: Sequence[type[Subject]], root: Path) -> Iterator[list[Subject]]:
    """Start the engines, each with the image `IMAGE`."""
    archive = root / "busybox.tar"
    busybox_archive(archive, IMAGE)
    with ExitStack() as undo:
        subjects = []
        for kind in kinds:
            directory = root / kind.name
            directory.mkdir()
            subject = kind(directory)
            subject.start()
            undo.callback(subject.close)
            subject.do("load", "--input", str(archive))
            subjects.append(subject)
        yield subjects


@contextmanager
def served_image(root: Path, size_gb: float) -> Iterator[list[Work]]:
    """The works that use an image of `size_gb`, in a registry on loopback and in an archive."""
    say(f"making an image of {size_gb} GB")
    layout = write_layout(root / "layout", int(size_gb * 1e9))
    storage = root / "registry"
    storage.mkdir()
    pulled = root / "pulled"
    pulled.mkdir()
    with closing(Registry(storage)) as registry:
        reference = registry.push(layout.path, "bench/packages:1", transport="oci")
        archive = root / "image.tar"
        copy = ["skopeo", "--tmpdir", str(root), "--insecure-policy", "copy", "--quiet"]
        subprocess.run([*copy, f"oci:{layout.path}", f"docker-archive:{archive}:bench/packages:1"], check=True)
        size = f"{layout.unpacked_bytes / 1e9:.2f} GB, {layout.files} files, {layout.layers} layers"
        say(f"{reference}: {size}, {layout.compressed_bytes / 1e9:.2f} GB compressed")
        blobs = sorted((layout.path / "blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
        yield ImageWorks(reference, archive, size, pulled, blobs[-layout.layers :]).works()


def measure(work: Work, subjects: Sequence[Subject], rounds: int, figures: report.Figures) -> None:
    """Take one sample of each engine per round; the first engine changes from round to round."""
    with ExitStack() as undo:
        for subject in subjects:
            undo.enter_context(work.around(subject))
        for turn in range(rounds + 1):  # the first round only warms up
            first = turn % len(subjects)
            for subject in (*subjects[first:], *subjects[:first]):
                os.sync()
                sample = work.sample(subject)
                if sample is None:
                    continue
                if turn:
                    figures.add(work.name, subject.name, sample)
                if work.slow:
                    say(f"{subject.name}: {sample:.1f} {work.unit}")


def say(text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)


def main() -> int:
    if os.geteuid() != 0:
        print("make bench needs root: it runs engines", file=sys.stderr)
        return 1
    options = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the engines end with it
    enter_own_namespaces()
    wanted = options.works or ALL_WORKS
    works = [work for work in OWN_WORKS if work.name in wanted]
    with ExitStack() as undo:
        root = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        if set(wanted) & set(IMAGE_WORKS):
            made = undo.enter_context(served_image(root, options.pull_gb))
            works += [work for work in made if work.name in wanted]
        subjects = undo.enter_context(started([SUBJECTS[name] for name in options.engines], root))
        figures = report.Figures({subject.name: subject.version() for subject in subjects}, options.rounds)
        for work in works:
            say(work.title)
            measure(work, subjects, options.slow_rounds if work.slow else options.rounds, figures)
        print(report.table(figures, works))
        paths = report.write(figures, works, options.output)
    say("written: " + ", ".join(map(str, paths)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
