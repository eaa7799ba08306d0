"""Bad input: a clear error with Docker's wording and status, and nothing left behind."""

import json
import re
import threading

from tests.compat.test_run import free_port
from tests.support.clients import Client
from tests.support.engines import Dockerd, Engine

IMAGE = "busybox:test"


def message(body: bytes) -> str:
    return str(json.loads(body)["message"])


def test_a_name_in_use_is_a_conflict_that_names_its_owner(client: Client) -> None:
    owner = client("create", "--name", "taken", IMAGE, "true")
    done = client.run("create", "--name", "taken", IMAGE, "true")
    assert done.returncode == 1
    assert f'The container name "/taken" is already in use by container "{owner}"' in done.stderr


def test_a_bad_name_is_refused(client: Client) -> None:
    done = client.run("create", "--name", "a b", IMAGE, "true")
    assert done.returncode == 1
    assert "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed" in done.stderr


def test_a_bad_image_reference_is_refused(client: Client) -> None:
    done = client.run("create", "localhost/UPPER/case", "true")
    assert done.returncode == 1
    assert "repository name" in done.stderr and "must be lowercase" in done.stderr


def test_a_port_in_use_is_refused_and_leaves_the_container_startable(client: Client, engine: Engine) -> None:
    port = free_port()
    serve = (IMAGE, "httpd", "-f", "-p", "80", "-h", "/www")
    client("run", "-d", "--name", "first", "-p", f"{port}:80", *serve)
    done = client.run("run", "-d", "--name", "second", "-p", f"{port}:80", *serve)
    assert done.returncode == 125
    assert f"Bind for 0.0.0.0:{port} failed: port is already allocated" in done.stderr
    assert "Error waiting for container" not in done.stderr
    client("rm", "-f", "first")
    client("start", "second")
    assert engine.curl(f"http://127.0.0.1:{port}/") == "three planks\n"


def test_two_containers_of_one_name_at_once_are_one_container(client: Client, engine: Engine) -> None:
    starting = threading.Barrier(2)
    statuses: list[int] = []

    def create() -> None:
        starting.wait()
        statuses.append(engine.request("POST", "/containers/create?name=twin", {"Image": IMAGE, "Cmd": ["true"]})[0])

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 409]
    assert len(engine.get("/containers/json?all=1")) == 1


def test_a_missing_command_leaves_a_created_container(client: Client, engine: Engine) -> None:
    client.run("run", "--name", "broken", IMAGE, "no-such-command")
    state = engine.get("/containers/broken/json")["State"]
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("created", 127, False)


def test_an_unknown_path_is_404_with_dockers_body(engine: Engine) -> None:
    status, body = engine.request("GET", "/no/such/path")
    assert (status, message(body)) == (404, "page not found")


def test_a_create_without_a_body_is_refused(engine: Engine) -> None:
    status, body = engine.request("POST", "/containers/create")
    assert status == (500 if isinstance(engine, Dockerd) else 400)  # 500 before Docker 23
    assert message(body)


def test_an_unknown_runtime_is_refused(client: Client) -> None:
    done = client.run("run", "--rm", "--runtime", "no-such-runtime", IMAGE, "true")
    assert done.returncode == 125
    assert re.search("unknown or invalid runtime name: no-such-runtime|Unknown runtime specified", done.stderr)


def test_a_bind_source_that_is_missing_is_refused(client: Client) -> None:
    done = client.run("create", "--mount", "type=bind,source=/no/such/path,target=/mnt", IMAGE, "true")
    assert done.returncode == 1
    assert "bind source path does not exist: /no/such/path" in done.stderr


def test_a_memory_limit_below_the_minimum_is_refused(client: Client) -> None:
    done = client.run("create", "-m", "1m", IMAGE, "true")
    assert done.returncode == 1
    assert "Minimum memory limit allowed is 6MB" in done.stderr
