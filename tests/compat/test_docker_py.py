"""docker-py, the library under Compose v1, Ansible and Testcontainers."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker as docker_py
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

from tests.conftest import Archives
from tests.support.engines import Engine
from tests.support.registry import Registry

IMAGE = "busybox:test"


@pytest.fixture
def library(engine: Engine) -> Iterator[docker_py.DockerClient]:
    client = docker_py.DockerClient(base_url=engine.host, version="auto")
    yield client
    client.close()


def test_ping_version_info(library: docker_py.DockerClient) -> None:
    assert library.ping() is True
    assert library.version()["Os"] == "linux"
    assert library.info()["Images"] >= 2


def test_run_returns_the_output(library: docker_py.DockerClient) -> None:
    assert library.containers.run(IMAGE, ["echo", "hi"], remove=True) == b"hi\n"


def test_run_raises_for_a_status_with_the_stderr(library: docker_py.DockerClient) -> None:
    with pytest.raises(ContainerError) as raised:
        library.containers.run(IMAGE, ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert (raised.value.exit_status, raised.value.stderr) == (3, b"bad\n")


def test_life_of_a_container(library: docker_py.DockerClient) -> None:
    container = library.containers.run(
        IMAGE, ["sleep", "600"], detach=True, name="py", mem_limit="64m", labels={"a": "b"}
    )
    assert [found.name for found in library.containers.list(filters={"label": "a=b"})] == ["py"]
    code, output = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True)
    assert (code, output) == (3, (b"out\n", b"err\n"))
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] == 137
    container.reload()
    assert container.status == "exited"
    container.remove()
    with pytest.raises(NotFound):
        library.containers.get("py")


def test_logs_stream(library: docker_py.DockerClient) -> None:
    container = library.containers.run(IMAGE, ["seq", "1", "3"], detach=True)
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"


def test_attach_socket_carries_stdin(library: docker_py.DockerClient) -> None:
    container = library.containers.create(IMAGE, ["head", "-n", "1"], stdin_open=True)
    stream = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    connection = stream._sock
    connection.sendall(b"over the socket\n")
    assert stream.read(8) == b"\x01\0\0\0\0\0\0\x10"
    assert stream.read(16) == b"over the socket\n"
    stream.close()
    connection.close()  # docker-py's stream does not close it
    assert container.wait()["StatusCode"] == 0


def test_images(library: docker_py.DockerClient, registry: Registry, archives: Archives) -> None:
    image = library.images.pull(f"{registry.host}/planks/layered", tag="test")
    assert image.id == archives.layered_id
    image.tag("py/tagged", "1")
    library.images.remove("py/tagged:1")
    library.images.remove(f"{registry.host}/planks/layered:test")
    with pytest.raises(ImageNotFound):
        library.images.get("py/tagged:1")


def test_load(library: docker_py.DockerClient, archives: Archives) -> None:
    assert tarfile.is_tarfile(archives.busybox)
    [image] = library.images.load(Path(archives.busybox).read_bytes())
    assert image.id == archives.busybox_id


def test_volumes_and_networks(library: docker_py.DockerClient) -> None:
    volume = library.volumes.create("py", labels={"a": "b"})
    assert library.volumes.get("py").attrs["Labels"] == {"a": "b"}
    volume.remove()
    assert {"bridge", "host", "none"} <= {network.name for network in library.networks.list()}


def test_errors_have_dockers_words(library: docker_py.DockerClient) -> None:
    with pytest.raises(ImageNotFound):
        library.images.get("no-such-image")
    library.containers.create(IMAGE, ["true"], name="same")
    with pytest.raises(APIError, match="is already in use by container"):
        library.containers.create(IMAGE, ["true"], name="same")
