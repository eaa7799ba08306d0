"""The cost of networks: starts alone and next to many, published ports, name resolution, throughput."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.subjects import SUBJECTS, Subject
from bench.works import IMAGE, Budget, Work, at_most, seconds

NETWORK = "bench"
CROWD = 500
"""Containers on one network. The kernel supports 1,023 ports per bridge."""

MANY_PORTS, CROWDED_PORTS = 1000, 5000
FIRST_PORT, FIRST_CROWDED_PORT = 10000, 20000
NAME_SERVER = "127.0.0.11"
LOOK_UPS = "server A\nserver AAAA\n"
MEASURED_S = "3"
GIGABYTE_BITS = 8e9
HERE, OUTSIDE, OUTSIDE_NAMESPACE = "203.0.113.1", "203.0.113.2", "outside"
STREAM_PORT = 5201
HOST_PORTS = {name: STREAM_PORT + number for number, name in enumerate(SUBJECTS)}


@contextmanager
def network(subject: Subject) -> Iterator[None]:
    """A user-defined network."""
    subject.do("network", "create", NETWORK)
    try:
        yield
    finally:
        subject.do("network", "rm", NETWORK)


@contextmanager
def created(subject: Subject, name: str, *flags: str) -> Iterator[None]:
    """A container on the network, not yet started."""
    subject.do("create", *subject.run_flags, "--name", name, "--network", NETWORK, *flags, IMAGE, "sleep", "36000")
    try:
        yield
    finally:
        subject.do("rm", "--force", name)


@contextmanager
def running(subject: Subject, name: str, *flags: str) -> Iterator[None]:
    """A running container on the network."""
    with created(subject, name, *flags):
        subject.do("start", name)
        yield


@contextmanager
def crowd(subject: Subject) -> Iterator[None]:
    """The network, with all but one of `CROWD` containers on it."""
    with network(subject), ExitStack() as undo:
        for number in range(1, CROWD):
            undo.enter_context(running(subject, f"crowd{number}"))
        yield


@contextmanager
def crowded_ports(subject: Subject) -> Iterator[None]:
    """The network, with a container that publishes thousands of ports, if the engine needs no process for each.

    No machine has enough memory for thousands of proxy processes.
    """
    with network(subject), ExitStack() as undo:
        if publishes_by_rules(subject):
            undo.enter_context(running(subject, "crowd", *ports(CROWDED_PORTS, FIRST_CROWDED_PORT)))
        yield


def publishes_by_rules(subject: Subject) -> bool:
    return subject.name == "sampand"


def ports(number: int, first: int = FIRST_PORT) -> tuple[str, ...]:
    """The flags that publish `number` ports."""
    return ("--publish", f"{first}-{first + number - 1}:{first}-{first + number - 1}")


def start(subject: Subject, *flags: str) -> float:
    with created(subject, "probe", *flags):
        return seconds(subject.client("start", "probe"))


def start_with_port(subject: Subject) -> float:
    return start(subject, *ports(1))


def start_with_port_beside_many(subject: Subject) -> float | None:
    return start_with_port(subject) if publishes_by_rules(subject) else None


def start_with_many_ports(subject: Subject) -> float | None:
    return start(subject, *ports(MANY_PORTS)) if publishes_by_rules(subject) else None


@contextmanager
def pair(subject: Subject) -> Iterator[None]:
    """A server with a published port, a client, and a neighbour of the host on its network."""
    published = f"{HOST_PORTS[subject.name]}:{STREAM_PORT}"
    with (
        neighbour(),
        network(subject),
        running(subject, "server", "--publish", published),
        running(subject, "client"),
    ):
        yield


@contextmanager
def neighbour() -> Iterator[None]:
    """A network namespace next to the host's own, created at the first use, and gone at the end of the bench."""
    if not Path("/run/netns", OUTSIDE_NAMESPACE).exists():
        for words in (
            f"netns add {OUTSIDE_NAMESPACE}",
            f"link add wire type veth peer name wire netns {OUTSIDE_NAMESPACE}",
            f"addr add {HERE}/24 dev wire",
            "link set wire up",
            f"-n {OUTSIDE_NAMESPACE} addr add {OUTSIDE}/24 dev wire",
            f"-n {OUTSIDE_NAMESPACE} link set wire up",
        ):
            subprocess.run(["ip", *words.split()], check=True)
    yield


def inside(subject: Subject, name: str) -> list[str]:
    """The command prefix for running a program of the host in a container's network."""
    pid = subject.do("inspect", "--format", "{{.State.Pid}}", name)
    return ["nsenter", f"--net=/proc/{pid}/ns/net"]


def look_up(subject: Subject) -> float | None:
    """Seconds for a query to the engine's own name server, with a hundred in flight."""
    if NAME_SERVER not in subject.do("exec", "client", "cat", "/etc/resolv.conf"):
        return None
    with tempfile.NamedTemporaryFile("w") as asked:
        asked.write(LOOK_UPS)
        asked.flush()
        words = ["dnsperf", "-s", NAME_SERVER, "-d", asked.name, "-l", MEASURED_S]
        done = subprocess.run([*inside(subject, "client"), *words], check=True, capture_output=True, text=True)
    [line] = [line for line in done.stdout.splitlines() if "Queries per second" in line]
    return 1 / float(line.split()[-1])


def stream(subject: Subject) -> float:
    """Seconds for a gigabyte from one container to another."""
    address = subject.do("inspect", "--format", f"{{{{.NetworkSettings.Networks.{NETWORK}.IPAddress}}}}", "server")
    return seconds_per_gigabyte(subject, inside(subject, "client"), address, STREAM_PORT)


def stream_from_outside(subject: Subject) -> float:
    """Seconds for a gigabyte from the host's neighbour through the published port."""
    client = ["ip", "netns", "exec", OUTSIDE_NAMESPACE]
    return seconds_per_gigabyte(subject, client, HERE, HOST_PORTS[subject.name])


def seconds_per_gigabyte(subject: Subject, client: list[str], address: str, port: int) -> float:
    words = ["iperf3", "--server", "--one-off", "--forceflush", "--port", str(STREAM_PORT)]
    with subprocess.Popen([*inside(subject, "server"), *words], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():
            if server.poll() is not None:
                raise RuntimeError("iperf3 does not listen")
        words = ["iperf3", "--json", "--client", address, "--port", str(port), "--time", MEASURED_S]
        done = subprocess.run([*client, *words], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            server.kill()
            raise RuntimeError(f"{subject.name}: iperf3: {done.stdout[-300:]}{done.stderr}")
        server.stdout.read()
    return float(GIGABYTE_BITS / json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"])


AS_FAST_AS_DOCKER = Budget(ratio=1 / 0.95)


def like(work: str) -> Budget:
    """At most a fifth more than another work."""
    return Budget(ratio=1.2, of=work)


NETWORK_WORKS = (
    Work("start", "`start`, the first on its network", start, network),
    Work("start_crowd", f"`start`, the {CROWD}th on its network", start, crowd, budget=like("start")),
    Work("start_port", "`start` with a published port", start_with_port, network),
    Work(
        "start_beside_ports",
        f"`start` with a published port beside {CROWDED_PORTS:,}",
        start_with_port_beside_many,
        crowded_ports,
        budget=like("start_port"),
    ),
    Work(
        "start_ports",
        f"`start` with {MANY_PORTS:,} published ports",
        start_with_many_ports,
        network,
        budget=like("start_port"),
    ),
    Work("look_up", "a name looked up, of 100 at once", look_up, pair, slow=True, budget=at_most(0.0001)),
    Work("stream", "1 GB to another container", stream, pair, slow=True, budget=AS_FAST_AS_DOCKER),
    Work(
        "stream_port",
        "1 GB from outside through a published port",
        stream_from_outside,
        pair,
        slow=True,
        budget=AS_FAST_AS_DOCKER,
    ),
)
