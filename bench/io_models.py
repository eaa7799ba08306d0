"""Compares ways for a server to divide I/O and work, by the latency of a short request while 64 slow jobs run.

    .venv/bin/python -m bench.io_models --output docs/io_models.svg

Each model is a small real HTTP server on a unix socket, in a separate process from the client. Slow jobs take 50 to
200 ms: three in four wait for something (like a mount, a netlink call or a file), one in four computes in Python.
Pings are sent every 10 ms, each on a new connection, from when the jobs are sent until the last is done, whether or
not earlier ones are answered; so every ping shows when a server stalls.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

JOBS = 64
WORKERS = 32
LOOPS = 4
PING_EVERY_S = 0.01
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"


def slow_jobs() -> list[str]:
    """The paths of the jobs, whose durations and kinds are the same in every run."""
    return [f"/job/{'compute' if number % 4 == 0 else 'wait'}/{50 + number * 37 % 151}" for number in range(JOBS)]


def work(path: str) -> bytes:
    """Do what `path` requests, in the calling thread, and return the response."""
    if path.startswith("/job/"):
        kind, milliseconds = path.split("/")[2:]
        (compute if kind == "compute" else time.sleep)(int(milliseconds) / 1000)
    return HEAD + b"OK"


def compute(duration_s: float) -> None:
    """Python code that uses the processor for `duration_s`."""
    end = time.thread_time() + duration_s
    while time.thread_time() < end:
        sum(range(1000))


# The servers. Each gets a listening socket, reports that it is ready, and never returns.


def serve_on_io_threads(listener: socket.socket) -> None:
    """Like Tomcat: a thread of a bounded pool accepts a connection, reads, works and writes."""

    def serve(connection: socket.socket) -> None:
        with connection:
            path = connection.recv(4096).split()[1].decode()
            connection.sendall(work(path))

    with ThreadPoolExecutor(WORKERS) as pool:
        ready()
        while True:
            pool.submit(serve, listener.accept()[0])


def serve_in_worker_loops(listener: socket.socket) -> None:
    """Like Netty: connections are distributed to a few event loops, and the work is done in the loop."""
    loops = [asyncio.new_event_loop() for _ in range(LOOPS)]
    for loop in loops:
        threading.Thread(target=loop.run_forever, daemon=True).start()
    ready()
    for loop in itertools.cycle(loops):
        connection = listener.accept()[0]
        asyncio.run_coroutine_threadsafe(serve_connection(connection, work_here), loop)


def serve_in_one_loop(listener: socket.socket) -> None:
    """Like Redis: one loop does everything, one thing after another."""
    asyncio.run(serve_from_loop(listener, work_here))


def serve_with_thread_pool(listener: socket.socket) -> None:
    """One loop only for I/O, and all jobs in a bounded pool of threads."""
    with ThreadPoolExecutor(WORKERS) as threads:
        asyncio.run(serve_from_loop(listener, work_in(threads, threads)))


def serve_with_job_pool(listener: socket.socket) -> None:
    """Like sampan: one loop only for I/O, a bounded pool of threads for waiting, worker processes for computing."""
    context = multiprocessing.get_context("forkserver")
    with ThreadPoolExecutor(WORKERS) as threads, ProcessPoolExecutor(2, mp_context=context) as processes:
        list(processes.map(work, ["/warm", "/up"]))
        asyncio.run(serve_from_loop(listener, work_in(threads, processes)))


Answerer = Callable[[str], Awaitable[bytes]]


async def work_here(path: str) -> bytes:
    return work(path)


def work_in(waiting: Executor, computing: Executor) -> Answerer:
    async def answer(path: str) -> bytes:
        if not path.startswith("/job/"):
            return work(path)
        pool = computing if "compute" in path else waiting
        return await asyncio.get_running_loop().run_in_executor(pool, work, path)

    return answer


async def serve_from_loop(listener: socket.socket, answer: Answerer) -> None:
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    ready()
    serving = set()
    while True:
        connection = (await loop.sock_accept(listener))[0]
        task = asyncio.create_task(serve_connection(connection, answer))
        serving.add(task)
        task.add_done_callback(serving.discard)


async def serve_connection(connection: socket.socket, answer: Answerer) -> None:
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    with connection:
        request = await loop.sock_recv(connection, 4096)
        await loop.sock_sendall(connection, await answer(request.split()[1].decode()))


def ready() -> None:
    print("ready", flush=True)


@dataclass(frozen=True)
class Model:
    title: str
    serve: Callable[[socket.socket], None]


MODELS = {
    "io_threads": Model("work on the I/O thread (Tomcat)", serve_on_io_threads),
    "worker_loops": Model(f"in the worker's own loop (Netty, {LOOPS} loops)", serve_in_worker_loops),
    "one_loop": Model("one loop for all (Redis)", serve_in_one_loop),
    "thread_pool": Model("job pool, all in threads", serve_with_thread_pool),
    "job_pool": Model("job pool, computing in processes (sampan)", serve_with_job_pool),
}


# The client.


@dataclass(frozen=True)
class Measured:
    """Latencies of the pings in seconds, and how long all jobs took together."""

    pings: list[float]
    jobs_s: float

    def percentile(self, percent: float) -> float:
        return sorted(self.pings)[min(len(self.pings) - 1, int(len(self.pings) * percent / 100))]


async def request(path: Path, target: str) -> float:
    """Send a request; returns the seconds from connecting to the complete response."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    if not answer.endswith(b"OK"):
        raise RuntimeError(f"{target}: answered {answer!r}")
    return time.perf_counter() - began


async def load(path: Path) -> Measured:
    """Send all jobs at once, and pings until the last job is done."""
    began = time.perf_counter()
    jobs = asyncio.gather(*(request(path, target) for target in slow_jobs()))
    pings = []
    while not jobs.done():
        pings.append(asyncio.create_task(request(path, "/_ping")))
        await asyncio.sleep(PING_EVERY_S)
    await jobs
    jobs_s = time.perf_counter() - began
    return Measured(list(await asyncio.gather(*pings)), jobs_s)


def measure(name: str) -> Measured:
    """Start the server `name`, run one load, and stop it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "socket")
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.io_models", "--serve", name, "--socket", path],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert server.stdout is not None
            if server.stdout.readline() != b"ready\n":
                raise RuntimeError(f"{name} did not start")
            return asyncio.run(load(path))
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # with its worker processes
            server.communicate()


def serve(name: str, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1024)
        MODELS[name].serve(listener)


# The report.


def table(measured: dict[str, Measured]) -> str:
    lines = ["| model | ping p50 | ping p99 | ping max | the 64 jobs |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, result in measured.items():
        times = [statistics.median(result.pings), result.percentile(99), max(result.pings)]
        cells = [f"{value * 1000:.1f} ms" for value in times]
        lines.append(f"| {MODELS[name].title} | {' | '.join(cells)} | {result.jobs_s:.1f} s |")
    return "\n".join(lines)


def draw(measured: dict[str, Measured], path: Path) -> None:
    """Draw a line for each model from the median to the slowest ping, on a logarithmic axis."""
    import matplotlib as mpl  # noqa: PLC0415  the servers need not load it
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "sampan"
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    axes = figure.add_subplot()
    for row, (name, result) in enumerate(measured.items()):
        colour = "#0f7b8a" if name == "job_pool" else "#8a939b"
        points = [1000 * value for value in (result.percentile(50), result.percentile(99), max(result.pings))]
        axes.plot([points[0], points[-1]], [row, row], color=colour, linewidth=2)
        for value, marker in zip(points, "o|D", strict=True):
            axes.plot(value, row, marker, color=colour, markersize=10 if marker == "|" else 6)
    axes.set_yticks(range(len(measured)), [MODELS[name].title for name in measured], fontsize=9)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("latency of /_ping in ms while 64 slow jobs run: ● median, | 99 %, ◆ slowest", fontsize=9)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def together(runs: Sequence[Measured]) -> Measured:
    return Measured([ping for run in runs for ping in run.pings], statistics.median(run.jobs_s for run in runs))


def main() -> None:
    parser = argparse.ArgumentParser(description="latency of a short request while slow jobs run, by server model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench/results/io_models.svg"))
    parser.add_argument("--serve", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--socket", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.socket)
        return
    runs = [{name: measure(name) for name in MODELS} for _ in range(options.rounds)]
    measured = {name: together([run[name] for run in runs]) for name in MODELS}
    print(table(measured))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(measured, options.output)
    figures = {name: {"pings_s": result.pings, "jobs_s": result.jobs_s} for name, result in measured.items()}
    Path("bench/results").mkdir(parents=True, exist_ok=True)
    Path("bench/results/io_models.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
