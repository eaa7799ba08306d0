"""`make demo`: shows sampan in ten steps on this machine, and leaves nothing behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sampan.testing.host import LeakCheck, Leaked
from tests.support.engines import BIN_DIR, Sampand
from tests.support.images import busybox_archive
from tests.support.processes import StartFailed

BOAT = r"""
            |\
            | \        sampan: a boat of three planks,
            |__\         storage · network · resources
       _____|______
  ~~~~~\__________/~~~~~~  every plank a pip package
"""


class Page:
    """Prints steps with their times; in colour on a terminal."""

    def __init__(self) -> None:
        self.colour = sys.stdout.isatty() and os.environ.get("NO_COLOR") is None and os.environ.get("TERM") != "dumb"
        self.width = min(shutil.get_terminal_size((96, 24)).columns, 110)

    def paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def title(self) -> None:
        print(self.paint("36", BOAT))

    def done(self, text: str, took_s: float) -> None:
        took = f"{took_s * 1000:.0f} ms" if took_s < 1 else f"{took_s:.2f} s"
        dots = "·" * max(2, self.width - len(text) - len(took) - 6)
        print(f"  {self.paint('32', '✓')} {text} {self.paint('2', dots)} {self.paint('1', took)}")

    def failed(self, text: str) -> None:
        print(f"  {self.paint('31', '✗')} {self.paint('1', text)}")

    def detail(self, text: str) -> None:
        for line in text.splitlines():
            print(self.paint("2", f"      {line}"))

    def command(self, words: str) -> None:
        print(f"\n  {self.paint('33', '$')} {words}")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Print `text` with the time taken by the block, or its failure."""
        began = time.perf_counter()
        try:
            yield
        except BaseException:
            self.failed(text)
            raise
        self.done(text, time.perf_counter() - began)


class Demo:
    """A daemon with a temporary data root, and the commands of the demo."""

    def __init__(self, page: Page, root: Path) -> None:
        self.page = page
        self.engine = Sampand(root)
        self.archive = root / "busybox.tar"

    def sampan(self, text: str, *words: str) -> str:
        """Run one `sampan` command as a step, show it, and return its output."""
        self.page.command(f"sampan {' '.join(words)}".replace(str(self.archive.parent), "…"))
        with self.page.step(text):
            done = subprocess.run(
                [BIN_DIR / "sampan", "-H", self.engine.host, *words], capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise DemoFailed(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
        self.page.detail(done.stderr.strip())
        return done.stdout.strip()

    def run(self) -> None:
        self.start()
        port = free_port()
        self.make_image()
        self.page.detail(self.sampan("the image is loaded", "load", "--input", str(self.archive)))
        self.start_web(port)
        self.look_through_the_port(port)
        self.look_inside()
        self.use_the_volume()
        self.page.detail(self.sampan("the containers of this daemon", "ps"))
        self.page.detail(self.sampan("the planks, and the packages they come from", "drivers"))
        self.clean_up()

    def start(self) -> None:
        self.page.command(f"sampand --data-root …/data --exec-root …/exec -H {self.engine.host}")
        with self.page.step("a daemon of its own, ready to serve"):
            self.engine.start()

    def make_image(self) -> None:
        with self.page.step("an image, made of Debian's busybox-static: nothing is downloaded"):
            busybox_archive(self.archive, "busybox:demo")
        self.page.detail(f"{self.archive.stat().st_size / 1e6:.1f} MB, one layer, docker-archive format")

    def start_web(self, port: int) -> None:
        self.sampan(
            "a web server in a container: bridge network, published port, memory limit, volume",
            *("run", "--detach", "--name", "web", "--publish", f"127.0.0.1:{port}:80", "--memory", "64m"),
            *("--volume", "planks:/data", "busybox:demo", "httpd", "-f", "-p", "80", "-h", "/www"),
        )

    def look_through_the_port(self, port: int) -> None:
        url = f"http://127.0.0.1:{port}/"
        self.page.command(f"curl {url}")
        with self.page.step("the published port answers"):
            page = fetch(url)
        self.page.detail(page)

    def look_inside(self) -> None:
        shown: Any = json.loads(self.sampan("what the engine knows about it", "inspect", "web"))[0]
        network = shown["NetworkSettings"]["Networks"]["bridge"]
        self.page.detail(f"address {network['IPAddress']} behind gateway {network['Gateway']}")
        self.page.detail(f"memory limit {shown['HostConfig']['Memory'] >> 20} MiB, pid {shown['State']['Pid']}")

    def use_the_volume(self) -> None:
        self.sampan("a command in the running container", "exec", "web", "sh", "-c", "echo kept > /data/note")
        words = ("run", "--rm", "--network", "none", "--volume", "planks:/data", "busybox:demo", "cat", "/data/note")
        note = self.sampan("another container finds what the first wrote to the volume", *words)
        if note != "kept":
            raise DemoFailed(f"the volume holds {note!r}, not 'kept'")
        self.page.detail(note)

    def clean_up(self) -> None:
        self.sampan("the container is stopped and removed", "rm", "--force", "web")
        self.sampan("and so is the volume", "volume", "rm", "planks")
        with self.page.step("the daemon stops, and removes its bridge, table and cgroup"):
            self.engine.stop()


class DemoFailed(Exception):
    """A step did not have the expected result."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def fetch(url: str) -> str:
    """Fetch the page at `url`, which may not be served immediately after the container's start."""
    deadline = time.monotonic() + 5
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  a URL of our own
                return str(answer.read().decode())
        except (ConnectionError, urllib.error.URLError) as error:
            if time.monotonic() > deadline:
                raise DemoFailed(f"{url}: {error}") from None
            time.sleep(0.01)


def remove_what_is_left(demo: Demo) -> None:
    """After a failure or Ctrl-C, end the daemon and remove everything of it. Can't be interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if demo.engine.process is not None:
        demo.engine.close()
    else:
        demo.engine.forget()


def main() -> int:
    if os.geteuid() != 0:
        print("make demo needs root, for mounts, namespaces and a network", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # show each step when it is done
    page = Page()
    page.title()
    with ExitStack() as undo:
        root = Path(tempfile.mkdtemp(prefix="sampan-demo-"))
        undo.callback(shutil.rmtree, root, ignore_errors=True)
        demo = Demo(page, root)
        check = LeakCheck(demo.engine.marks)
        undo.callback(remove_what_is_left, demo)
        status = tell(demo, page)
        undo.pop_all().close()
    return max(status, tell_leaks(check, page))


def tell(demo: Demo, page: Page) -> int:
    """Run the demo; a failure is reported with the end of the daemon's log."""
    try:
        demo.run()
    except KeyboardInterrupt:
        page.failed("interrupted; cleaning up")
        return 130
    except Exception as error:  # whatever the error, the log is of interest
        message, _, rest = str(error).partition("\n")
        page.failed(message)
        page.detail("" if isinstance(error, StartFailed) else rest)
        if demo.engine.log.exists():
            page.detail("the end of the daemon's log:\n" + demo.engine.log_tail())
        return 1
    return 0


def tell_leaks(check: LeakCheck, page: Page) -> int:
    try:
        with page.step("nothing is left: no mount, namespace, interface, rule, cgroup, process or file"):
            check.assert_clean()
    except Leaked as error:
        page.detail(str(error))
        return 1
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
