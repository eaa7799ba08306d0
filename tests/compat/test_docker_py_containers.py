"""docker-py's containers: everything the library offers for one, including what it decodes for the caller."""

import contextlib
import io
import socket
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import docker as docker_py
import pytest
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import Mount, Ulimit

from tests.support.engines import Dockerd, Engine
from tests.support.images import Entry, layer

# docker-py leaves exec_run's sockets to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
IMAGE = "busybox:test"
FOREVER = ["sleep", "1000"]


@pytest.fixture
def library(engine: Engine) -> Iterator[docker_py.DockerClient]:
    client = docker_py.DockerClient(base_url=engine.host, version="auto")
    yield client
    client.close()


@pytest.fixture
def running(library: docker_py.DockerClient) -> Container:
    return library.containers.run(IMAGE, FOREVER, detach=True, name="py", labels={"tier": "front"})


def test_run_with_many_arguments(library: docker_py.DockerClient) -> None:
    script = (
        "id -u; id -g; id -G; pwd; hostname; echo $A; grep -c ark /etc/hosts; cat /etc/resolv.conf; ulimit -n; df /t"
    )
    output = library.containers.run(
        IMAGE,
        ["-c", f"{script}; df /t"],
        entrypoint=["sh"],
        remove=True,
        user="1000:1000",
        group_add=["2000"],
        working_dir="/tmp",
        hostname="plank",
        environment={"A": "1"},
        extra_hosts={"ark": "192.0.2.7"},
        dns=["192.0.2.1"],
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        tmpfs={"/t": "size=1m"},
        mounts=[Mount("/data", "py-data", type="volume", labels={"a": "b"})],
        cap_drop=["ALL"],
        read_only=True,
        init=True,
        network_mode="none",
        oom_score_adj=100,
        shm_size="1m",
        security_opt=["no-new-privileges"],
        labels=["plain"],
        stop_signal="SIGINT",
        log_config=docker_py.types.LogConfig(type="json-file", config={"max-size": "1m"}),
    ).decode()
    lines = output.splitlines()
    assert lines[:2] == ["1000", "1000"]
    assert "2000" in lines[2].split()
    assert lines[3:7] == ["/tmp", "plank", "1", "1"]
    assert "nameserver 192.0.2.1" in lines
    assert "100" in lines
    assert lines[-1].split()[1] == "1024"
    assert library.volumes.get("py-data").attrs["Labels"] == {"a": "b"}
    library.volumes.get("py-data").remove()


def test_ports_and_restart_policy_are_read_back(library: docker_py.DockerClient) -> None:
    container = library.containers.run(
        IMAGE, FOREVER, detach=True, ports={"80/tcp": ("127.0.0.1", None)}, restart_policy={"Name": "always"}
    )
    container.reload()
    [binding] = container.ports["80/tcp"]
    assert binding["HostIp"] == "127.0.0.1" and int(binding["HostPort"]) > 0
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "always"
    container.update(restart_policy={"Name": "no"})
    container.reload()
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "no"


def test_life(library: docker_py.DockerClient, running: Container) -> None:
    running.pause()
    running.reload()
    assert running.status == "paused"
    running.unpause()
    running.rename("other")
    assert library.containers.get("other").id == running.id
    running.restart(timeout=0)
    running.reload()
    assert (running.status, running.short_id, running.image.tags) == ("running", running.id[:12], [IMAGE])
    running.kill(signal="SIGKILL")
    assert running.wait(condition="not-running")["StatusCode"] == 137
    running.remove(v=True)
    with pytest.raises(NotFound):
        running.reload()


def test_exec_run_in_all_its_ways(running: Container) -> None:
    both = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert running.exec_run(both, demux=True) == (3, (b"out\n", b"err\n"))
    assert running.exec_run(both, stderr=False) == (3, b"out\n")
    assert not running.exec_run("true", detach=True).output
    assert b"".join(running.exec_run(["seq", "3"], stream=True).output) == b"1\n2\n3\n"
    assert running.exec_run(["sh", "-c", "tty; echo $A; id -un"], tty=True, environment=["A=1"], user="boat") == (
        0,
        b"/dev/pts/0\r\n1\r\nboat\r\n",
    )
    code, output = running.exec_run("no-such-command")
    assert code in (126, 127)
    assert b"executable file not found" in output


def test_exec_over_a_socket_carries_both_ways(running: Container) -> None:
    stream = running.exec_run("cat", stdin=True, socket=True).output
    connection: socket.socket = stream._sock
    connection.settimeout(30)
    connection.sendall(b"over and back\n")
    connection.shutdown(socket.SHUT_WR)
    received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received == b"\x01\0\0\0\0\0\0\x0eover and back\n"
    stream.close()
    connection.close()


def test_logs_in_all_their_ways(library: docker_py.DockerClient) -> None:
    container = library.containers.run(IMAGE, ["sh", "-c", "echo one; echo two >&2; echo three"], detach=True)
    container.wait()
    assert sorted(container.logs().splitlines()) == [b"one", b"three", b"two"]
    assert container.logs(stderr=False) == b"one\nthree\n"
    assert container.logs(stdout=False) == b"two\n"
    assert len(container.logs(tail=1).splitlines()) == 1
    stamp, _, text = container.logs(stderr=False, timestamps=True).splitlines()[0].partition(b" ")
    assert text == b"one" and stamp.endswith(b"Z")
    assert container.logs(since=int(time.time()) + 3600) == b""
    assert container.logs(until=1) == b""
    assert sorted(b"".join(container.logs(stream=True, follow=True)).splitlines()) == [b"one", b"three", b"two"]


def test_archives_go_in_and_out(running: Container) -> None:
    assert running.put_archive("/tmp", layer([Entry("put", b"put\n", mode=0o640, uid=1000)])) is True
    stream, stat = running.get_archive("/tmp/put")
    assert (stat["name"], stat["size"], stat["mode"]) == ("put", 4, 0o640)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        [member] = archive.getmembers()
        file = archive.extractfile(member)
        assert file is not None and file.read() == b"put\n"
        assert (member.name, member.uid, member.mode & 0o777) == ("put", 1000, 0o640)
    with pytest.raises(NotFound):
        running.get_archive("/no/such/file")
    with pytest.raises(NotFound):
        running.put_archive("/no/such/directory", layer([Entry("x")]))


def test_changes_export_and_commit(library: docker_py.DockerClient, running: Container) -> None:
    running.exec_run(["sh", "-c", "echo hi >/new"])
    assert {"Path": "/new", "Kind": 1} in running.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(running.export()))) as archive:
        assert "new" in {name.removeprefix("./") for name in archive.getnames()}
    image = running.commit("py/committed", "1", message="said", author="me", changes="ENV A=1", conf={"Cmd": ["id"]})
    assert image.tags == ["py/committed:1"]
    assert (image.attrs["Comment"], image.attrs["Author"]) == ("said", "me")
    assert "A=1" in image.attrs["Config"]["Env"]
    assert library.containers.run(image, ["cat", "/new"], remove=True) == b"hi\n"
    library.images.remove("py/committed:1")


def test_top_and_stats(running: Container) -> None:
    top = running.top(ps_args="-o pid,args")
    assert top["Titles"][-1] in ("COMMAND", "ARGS")
    assert any("sleep 1000" in " ".join(row) for row in top["Processes"])
    once = running.stats(stream=False)
    assert (once["name"].lstrip("/"), once["id"]) == ("py", running.id)
    assert {"cpu_stats", "precpu_stats", "memory_stats", "pids_stats", "blkio_stats", "networks"} <= once.keys()
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    following = running.stats(decode=True)
    first, second = next(following), next(following)
    assert first["read"] < second["read"]
    following.close()


def test_events_are_decoded_as_they_happen(library: docker_py.DockerClient, running: Container) -> None:
    with contextlib.closing(library.events(decode=True, filters={"container": "py"})) as events:
        running.stop(timeout=0)
        told: list[dict[str, Any]] = []
        while not told or told[-1]["Action"] != "stop":
            told.append(next(events))
    assert [event["Action"] for event in told][-2:] == ["die", "stop"]
    assert {event["Action"] for event in told[:-2]} == {"kill"}
    assert told[-2]["Actor"]["Attributes"].items() >= {"name": "py", "tier": "front", "exitCode": "137"}.items()


def test_lists_sizes_and_filters(library: docker_py.DockerClient, running: Container) -> None:
    library.containers.create(IMAGE, ["true"], name="fresh", labels={"tier": "back"})
    assert [one.name for one in library.containers.list()] == ["py"]
    assert [one.name for one in library.containers.list(all=True)] == ["fresh", "py"]
    assert [one.name for one in library.containers.list(all=True, limit=1)] == ["fresh"]
    assert [one.name for one in library.containers.list(all=True, filters={"before": "fresh"})] == ["py"]
    assert [one.name for one in library.containers.list(filters={"label": ["tier=back"]}, all=True)] == ["fresh"]
    assert library.containers.list(sparse=True)[0].attrs["Labels"] == {"tier": "front"}
    assert library.api.containers(size=True)[0]["SizeRootFs"] > 1_000_000


def test_prunes_say_what_went(library: docker_py.DockerClient, running: Container, engine: Engine) -> None:
    ended = library.containers.run(IMAGE, ["true"], detach=True)
    ended.wait()
    assert library.containers.prune()["ContainersDeleted"] == [ended.id]
    library.volumes.create("py-named")
    everything = {} if isinstance(engine, Dockerd) else {"all": True}  # the default before API 1.42
    assert library.volumes.prune(filters=everything)["VolumesDeleted"] == ["py-named"]
    assert library.images.prune()["ImagesDeleted"] is None
    assert library.networks.prune()["NetworksDeleted"] in (None, [])
    usage = library.df()
    assert {"LayersSize", "Images", "Containers", "Volumes"} <= usage.keys()
    assert [one["Id"] for one in usage["Containers"]] == [running.id]
    assert isinstance(engine, Dockerd) or usage["SampanLogUsage"]["TotalCount"] == 1


def test_errors_are_the_classes_that_callers_catch(library: docker_py.DockerClient, running: Container) -> None:
    with pytest.raises(APIError) as conflict:
        running.remove()
    assert conflict.value.status_code == 409 and conflict.value.is_client_error()
    with pytest.raises(NotFound, match="No such container: nobody"):
        library.containers.get("nobody")
    with pytest.raises(APIError) as bad:
        library.containers.create(IMAGE, ["true"], mem_limit="1m")
    assert "Minimum memory limit allowed is 6MB" in str(bad.value.explanation)
    with pytest.raises(APIError) as missing:
        library.containers.run(IMAGE, "no-such-command")
    assert missing.value.status_code == 400
