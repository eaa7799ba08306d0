"""kill -9 of the daemon, a monitor or an init; and a data root that was deleted."""

import http.client
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.compat.test_run import free_port
from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.containers import IMAGE, at_rest, call, create, eventually, run, send, state_of
from tests.support.engines import Sampand, running
from tests.support.holdings import difference, groups, holdings, monitored, snapshots
from tests.support.images import Entry, layer

pytestmark = pytest.mark.root
ROUNDS = 3
SERVER = ("httpd", "-f", "-p", "80", "-h", "/www")


@pytest.fixture(scope="module")
def engine(session_dir: Path, leak_marks: list[str], archives: Archives) -> Iterator[Sampand]:
    engine = Sampand(Path(mkdtemp(prefix="k", dir=session_dir)))
    leak_marks.extend(engine.marks)
    with running(engine):
        load(engine, archives)
        yield engine


@pytest.fixture(autouse=True)
def nothing_left(engine: Sampand) -> Iterator[None]:
    yield
    engine.remove_containers()
    assert_nothing_left(engine)
    assert published(engine) == ""


def load(engine: Sampand, archives: Archives) -> None:
    Client("docker", engine)("load", "-q", "-i", str(archives.busybox))


class Clients:
    """Clients that create and remove things as fast as they can until the daemon is killed at the `last` answer."""

    def __init__(self, engine: Sampand, last: int) -> None:
        self._engine = engine
        self._left = last
        self._counting = threading.Lock()
        self._dead = threading.Event()
        self._archive = layer([Entry("some/file", random.randbytes(400_000))])

    def run(self) -> None:
        loops = [self._lives, self._lives, self._forced, self._volumes, self._imports]
        loops += [self._changes, self._files, self._ends]
        with ThreadPoolExecutor(len(loops)) as threads:
            done = [threads.submit(self._loop, loop, number) for number, loop in enumerate(loops)]
        for one in done:
            one.result()

    def _loop(self, loop: Callable[[str], None], number: int) -> None:
        turn = 0
        while not self._dead.is_set():
            turn += 1
            try:
                loop(f"n{number}-{turn}-{random.getrandbits(32):x}")
            except (OSError, http.client.HTTPException):  # the daemon died while answering
                assert self._dead.wait(10)

    def _ask(self, method: str, path: str, body: object = None, archive: bytes | None = None) -> None:
        if archive is None:
            status, answer = call(self._engine, method, path, body)
        else:
            status, answer = send(self._engine, path, archive, method)
        assert status in (200, 201, 204), (path, answer)
        with self._counting:
            self._left -= 1
            if self._left == 0:
                self._dead.set()
                self._engine.kill()

    def _lives(self, name: str) -> None:
        host = {"Binds": [f"{name}:/data"], "PortBindings": {"80/tcp": [{"HostPort": "0"}]}}
        config = {"Image": IMAGE, "Cmd": ["sleep", "1000"], "HostConfig": host}
        self._ask("POST", f"/containers/create?name={name}", config)
        self._ask("POST", f"/containers/{name}/start")
        self._ask("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
        self._ask("POST", f"/containers/{name}/stop?t=0")
        self._ask("DELETE", f"/containers/{name}")

    def _forced(self, name: str) -> None:
        self._ask("POST", f"/containers/create?name={name}", {"Image": IMAGE, "Volumes": {"/data": {}}})
        self._ask("POST", f"/containers/{name}/start")
        self._ask("DELETE", f"/containers/{name}?force=1&v=1")

    def _changes(self, name: str) -> None:
        self._ask("POST", f"/containers/create?name={name}", {"Image": IMAGE, "Cmd": ["sleep", "1000"]})
        self._ask("POST", f"/containers/{name}/start")
        self._ask("POST", f"/containers/{name}/pause")
        self._ask("POST", f"/containers/{name}/update", {"RestartPolicy": {"Name": "unless-stopped"}})
        self._ask("POST", f"/containers/{name}/unpause")
        self._ask("POST", f"/containers/{name}/rename?name={name}-new")
        self._ask("POST", f"/containers/{name}-new/restart?t=0")
        self._ask("DELETE", f"/containers/{name}-new?force=1")

    def _files(self, name: str) -> None:
        self._ask("POST", f"/containers/create?name={name}", {"Image": IMAGE, "Cmd": ["sleep", "1000"]})
        self._ask("PUT", f"/containers/{name}/archive?path=/", archive=self._archive)
        self._ask("POST", f"/containers/{name}/start")
        self._ask("GET", f"/containers/{name}/archive?path=/some")
        self._ask("POST", f"/commit?container={name}&repo={name}")
        self._ask("DELETE", f"/containers/{name}?force=1")
        self._ask("DELETE", f"/images/{name}")

    def _ends(self, name: str) -> None:
        self._ask("POST", f"/containers/create?name={name}", {"Image": IMAGE, "Cmd": ["sh", "-c", "echo said"]})
        self._ask("POST", f"/containers/{name}/start")
        self._ask("GET", f"/containers/{name}/logs?stdout=1&follow=1")
        self._ask("POST", f"/containers/{name}/wait")
        self._ask("DELETE", f"/containers/{name}")

    def _volumes(self, name: str) -> None:
        self._ask("POST", "/volumes/create", {"Name": name})
        self._ask("DELETE", f"/volumes/{name}")

    def _imports(self, name: str) -> None:
        self._ask("POST", f"/images/create?fromSrc=-&repo={name}", archive=self._archive)
        self._ask("DELETE", f"/images/{name}")


def assert_nothing_left(engine: Sampand) -> None:
    """A container's resources are released just after its exit is reported."""
    assert eventually(lambda: not left_overs(engine)), left_overs(engine)


def left_overs(engine: Sampand) -> list[str]:
    """Whatever belongs to nothing that the daemon lists."""
    listed = engine.get("/containers/json?all=1")
    known = {one["Id"] for one in listed}
    running = {one["Id"] for one in listed if one["State"] in ("running", "paused")}
    volumes = engine.get("/volumes")["Volumes"] or []
    places = [
        (engine.data_root / "containers", known),
        (engine.exec_root / "bundles", running),
        (engine.exec_root / "runtime/containers", running),
        *((state, running) for state in (engine.exec_root / "runtime/state").iterdir()),
        *((group, running) for group in groups(engine)),
        (engine.data_root / "volumes", {one["Name"] for one in volumes}),
    ]
    found = [str(entry) for place, owners in places for entry in place.iterdir() if is_left(entry, owners)]
    used = {point.get("Name") for one in listed for point in one["Mounts"]}
    anonymous = {one["Name"] for one in volumes if "com.docker.volume.anonymous" in (one["Labels"] or {})}
    found += [f"volume {name}" for name in anonymous - used]
    found += [f"monitor of {id}" for id in monitored(engine) - running]
    found += [str(entry) for entry in engine.exec_root.glob("mount-*")]
    ports = list(Path("/sys/class/net").glob(f"*{engine.instance}0/brif/*"))
    return found + ([f"{len(ports)} veths for {len(running)} containers"] if len(ports) != len(running) else [])


def is_left(entry: Path, owners: set[str]) -> bool:
    return entry.is_dir() and entry.name not in owners


def published(engine: Sampand) -> str:
    table = subprocess.run(
        ["nft", "list", "table", "inet", f"sampan_{engine.instance}"], capture_output=True, text=True, check=True
    )
    return "".join(re.findall(r"map published\w* \{[^}]*elements[^}]*\}", table.stdout))


def make_usable(engine: Sampand, id: str) -> None:
    """Whatever its state, the container can be started and removed."""
    if state_of(engine, id)["Paused"]:
        assert call(engine, "POST", f"/containers/{id}/unpause")[0] == 204
    status, answer = call(engine, "POST", f"/containers/{id}/start")
    assert status in (204, 304), answer
    status, answer = call(engine, "DELETE", f"/containers/{id}?force=1&v=1")
    assert status == 204, answer


@pytest.mark.timeout(240)
def test_a_daemon_killed_at_any_moment_leaves_nothing_and_nothing_unusable(engine: Sampand) -> None:
    random.seed(os.environ.get("SAMPAN_TEST_SEED", "planks"))
    run(engine, "first")
    call(engine, "DELETE", "/containers/first?force=1")
    whole = at_rest(lambda: holdings(engine))
    for _ in range(ROUNDS):
        Clients(engine, last=random.randrange(5, 120)).run()
        engine.start()
        assert_nothing_left(engine)
        for one in engine.get("/containers/json?all=1"):
            make_usable(engine, one["Id"])
        assert published(engine) == ""
        for volume in engine.get("/volumes")["Volumes"] or []:
            assert call(engine, "DELETE", f"/volumes/{volume['Name']}")[0] == 204
        for image in engine.get("/images/json"):
            if image["RepoTags"] != [IMAGE]:
                assert call(engine, "DELETE", f"/images/{image['Id']}?force=1")[0] == 200
        assert eventually(lambda: not difference(whole, holdings(engine))), difference(whole, holdings(engine))
        assert_nothing_left(engine)


def test_containers_found_again_can_be_stopped_and_removed(engine: Sampand) -> None:
    port = free_port()
    host = {"PortBindings": {"80/tcp": [{"HostPort": str(port)}]}}
    run(engine, "web", *SERVER, host=host)
    run(engine, "forced")
    engine.kill()
    engine.start()
    assert engine.curl(f"http://127.0.0.1:{port}/") == "three planks\n"
    assert call(engine, "POST", "/containers/web/stop?t=0")[0] == 204
    assert state_of(engine, "web")["ExitCode"] == 137
    assert call(engine, "DELETE", "/containers/web")[0] == 204
    assert call(engine, "DELETE", "/containers/forced?force=1")[0] == 204
    run(engine, "web", *SERVER, host=host)
    assert engine.curl(f"http://127.0.0.1:{port}/") == "three planks\n"


def test_a_removed_data_root_is_begun_anew(engine: Sampand, archives: Archives) -> None:
    port = free_port()
    host = {"PortBindings": {"80/tcp": [{"HostPort": str(port)}]}}
    run(engine, "web", *SERVER, host=host)
    engine.stop()
    shutil.rmtree(engine.data_root)
    engine.start()
    assert_nothing_left(engine)
    assert published(engine) == ""
    load(engine, archives)
    run(engine, "web", *SERVER, host=host)
    assert engine.curl(f"http://127.0.0.1:{port}/") == "three planks\n"


@pytest.mark.parametrize("victim", ["init", "monitor"])
def test_a_killed_process_of_a_container_is_its_end(engine: Sampand, victim: str) -> None:
    id = run(engine, "victim")
    pid = state_of(engine, "victim")["Pid"]
    found = subprocess.run(["pgrep", "-f", f"conmon .*--cid {id}"], capture_output=True, text=True, check=True)
    os.kill(pid if victim == "init" else int(found.stdout), signal.SIGKILL)
    assert call(engine, "POST", "/containers/victim/wait") == (200, {"StatusCode": 137})
    assert state_of(engine, "victim")["Status"] == "exited"
    assert call(engine, "POST", "/containers/victim/start")[0] == 204


def test_a_container_whose_row_is_damaged_is_dead_and_keeps_its_name(engine: Sampand) -> None:
    run(engine, "good")
    damaged = run(engine, "damaged")
    engine.stop()
    damage(engine, f"UPDATE containers SET document = 'junk' WHERE id = '{damaged}'")
    engine.start()
    assert state_of(engine, "good")["Running"] is True
    state = state_of(engine, "damaged")
    assert (state["Status"], state["Dead"]) == ("dead", True)
    assert "can't be read from the database" in state["Error"]
    assert damaged in snapshots(engine)
    assert call(engine, "POST", "/containers/damaged/start")[0] == 409
    assert call(engine, "POST", "/containers/create?name=damaged", {"Image": IMAGE})[0] == 409
    assert call(engine, "DELETE", "/containers/damaged")[0] == 204
    assert damaged not in snapshots(engine)
    create(engine, "damaged")


def test_damaged_rows_of_networks_and_volumes_cost_no_container(engine: Sampand) -> None:
    run(engine, "good", host={"Binds": ["data:/data"]})
    engine.stop()
    damage(engine, "UPDATE networks SET document = 'junk'", "UPDATE volumes SET document = 'junk'")
    engine.start()
    assert state_of(engine, "good")["Running"] is True
    assert call(engine, "POST", "/containers/good/stop?t=0")[0] == 204
    assert call(engine, "POST", "/containers/good/start")[0] == 204


def damage(engine: Sampand, *statements: str) -> None:
    with closing(sqlite3.connect(engine.data_root / "state.db")) as database, database:
        for statement in statements:
            database.execute(statement)
