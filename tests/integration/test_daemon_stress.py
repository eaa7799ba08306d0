"""Two hundred containers, sixteen at a time, each started, exec'd, stopped and removed: none fails, nothing is left.

`--stress N` runs more.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import LoadedSampand
from tests.support.containers import at_rest, call, eventually, held_by, resident_kib, run
from tests.support.engines import Sampand
from tests.support.holdings import difference, holdings

pytestmark = pytest.mark.root
AT_ONCE = 16
WARM_UP = 16
SPARE_FILES = 6  # these come and go: client connections, per-thread databases
GIVEN_BACK_S = 20  # free memory is returned to the kernel after ten idle seconds


@pytest.fixture
def engine(loaded_sampand: LoadedSampand) -> Iterator[Sampand]:
    with loaded_sampand() as engine:
        yield engine


def live(engine: Sampand, name: str) -> None:
    """Run a container's whole life, with a published port, a named and an anonymous volume."""
    host = {"Binds": [f"{name}:/data"], "PortBindings": {"80/tcp": [{"HostPort": "0"}]}}
    run(engine, name, host=host, Volumes={"/scratch": {}})
    status, made = call(engine, "POST", f"/containers/{name}/exec", {"Cmd": ["true"], "AttachStdout": True})
    assert status == 201, made
    for method, path, body in (
        ("POST", f"/exec/{made['Id']}/start", {"Detach": False}),
        ("POST", f"/containers/{name}/stop?t=0", None),
        ("DELETE", f"/containers/{name}?v=1", None),
        ("DELETE", f"/volumes/{name}", None),
    ):
        status, answer = call(engine, method, path, body)
        assert status in (200, 204), (path, answer)
    code = call(engine, "GET", f"/exec/{made['Id']}/json")
    assert code[0] == 404, code  # removed with its container


def lives(engine: Sampand, prefix: str, count: int) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda number: live(engine, f"{prefix}{number}"), range(count)))


@pytest.mark.timeout(3600)
def test_two_hundred_lives_leave_nothing(engine: Sampand, pytestconfig: pytest.Config) -> None:
    assert engine.process is not None
    pid = engine.process.pid
    lives(engine, "warm", WARM_UP)
    before = at_rest(lambda: holdings(engine))
    files, memory = len(held_by(pid)), resident_kib(pid)
    lives(engine, "life", pytestconfig.getoption("--stress"))
    assert eventually(lambda: not difference(before, holdings(engine))), difference(before, holdings(engine))
    assert eventually(lambda: len(held_by(pid)) <= files + SPARE_FILES), held_by(pid)
    assert eventually(lambda: resident_kib(pid) < memory + 10 * 1024, GIVEN_BACK_S), resident_kib(pid)
    assert "Traceback" not in engine.log.read_text()
