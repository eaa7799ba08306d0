"""docker-py against the in-process daemon, used as by Ansible, Testcontainers and Compose v1."""

from __future__ import annotations

from contextlib import closing

import docker
import pytest
import websocket
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

from tests.api.daemon.in_process import IMAGE, InProcess
from tests.support.front import tcp_front


def test_ping_version_and_info(client: docker.DockerClient) -> None:
    assert client.ping() is True
    assert client.version()["ApiVersion"] == "1.56"
    info = client.info()
    assert (info["Name"], info["Images"], info["Driver"]) == ("harbour", 3, "memory")


def test_run_answers_the_output_and_removes(client: docker.DockerClient) -> None:
    assert client.containers.run(IMAGE, ["echo", "hi"], remove=True) == b"hi\n"
    assert client.containers.list(all=True) == []


def test_run_raises_for_a_status_with_the_stderr(client: docker.DockerClient) -> None:
    with pytest.raises(ContainerError) as raised:
        client.containers.run(IMAGE, ["sh", "-c", "echo bad >&2; exit 3"])
    assert (raised.value.exit_status, raised.value.stderr) == (3, b"bad\n")


def test_a_life(client: docker.DockerClient) -> None:
    container = client.containers.run(IMAGE, ["sleep", "infinity"], detach=True, name="py", mem_limit="64m")
    assert [one.name for one in client.containers.list(filters={"name": "py"})] == ["py"]
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    assert container.attrs["HostConfig"]["MemorySwap"] == 128 << 20
    code, output = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True)
    assert (code, output) == (3, (b"out\n", b"err\n"))
    container.stop(timeout=1)
    assert container.wait() == {"StatusCode": 143}
    container.remove()
    with pytest.raises(NotFound):
        client.containers.get("py")


def test_attach_over_a_websocket(house: InProcess) -> None:
    """docker-py supports this over TCP only."""
    front = tcp_front(house.socket)
    port = house.run(front.__aenter__())
    with closing(docker.DockerClient(base_url=f"tcp://127.0.0.1:{port}", version="auto")) as client:
        container = client.containers.create(IMAGE, ["cat"], stdin_open=True)
        with closing(container.attach_socket(ws=True, params={"stdin": 1, "stdout": 1, "stream": 1})) as connection:
            container.start()
            connection.send(b"hi\n")
            assert connection.recv() == b"hi\n"
            container.kill()
            assert connection.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE
            connection.shutdown()  # the library's close() leaves the socket open at this point
    house.run(front.__aexit__(None, None, None))


def test_logs_are_followed(client: docker.DockerClient) -> None:
    container = client.containers.run(IMAGE, ["sh", "-c", "echo 1; echo 2"], detach=True)
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n"
    assert container.logs(tail=1) == b"2\n"


def test_events_are_decoded(client: docker.DockerClient) -> None:
    events = client.events(decode=True, filters={"event": "create"})
    client.containers.create(IMAGE, ["true"], name="told")
    assert next(events)["Actor"]["Attributes"]["name"] == "told"
    events.close()


def test_volumes_networks_and_images(client: docker.DockerClient) -> None:
    client.volumes.create("py", labels={"a": "b"})
    assert client.volumes.get("py").attrs["Labels"] == {"a": "b"}
    assert {network.name for network in client.networks.list()} == {"bridge", "host", "none"}
    image = client.images.get(IMAGE)
    image.tag("py/tagged", "1")
    client.images.remove("py/tagged:1")
    with pytest.raises(ImageNotFound):
        client.images.get("py/tagged:1")


def test_a_conflict_has_dockers_words(client: docker.DockerClient) -> None:
    client.containers.create(IMAGE, ["true"], name="same")
    with pytest.raises(APIError, match="is already in use by container"):
        client.containers.create(IMAGE, ["true"], name="same")
