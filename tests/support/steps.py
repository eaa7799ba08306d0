"""Steps that are run on two engines in the same way, and what each engine answered.

A scenario is a list of named steps. Each run is on one engine, with its own containers and its own record of the ids
it was given (`{web}` in a path is the id remembered under `web`).
"""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import docker as docker_py
from docker.errors import APIError, DockerException

from tests.support.engines import Engine, UnixConnection
from tests.support.observe import Words, frames

API = "1.41"
"""The newest API version that both engines speak."""

HEADERS = ("api-version", "content-type", "docker-experimental", "ostype", "x-docker-container-path-stat")
"""The response headers that clients read."""

Observation = dict[str, Any]
"""Leaves by path: `status`, `header.…`, `body.…`, `stdout`, …"""


class Subject:
    """One engine with its clients, and the ids it assigned in a scenario."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.names: dict[str, str] = {}
        self.words = Words({})
        self.library = docker_py.DockerClient(base_url=engine.host, version=API)

    def begin(self) -> None:
        """Forget the previous scenario."""
        self.names = {}
        data, root = str(self.engine.data_root), str(self.engine.root)
        self.words = Words({data: "<data>", root: "<root>"})

    def remember(self, label: str, value: str) -> None:
        """Define what `{label}` stands for in later steps."""
        self.names[label] = value
        self.words.know(value, label)

    def filled(self, value: Any) -> Any:
        """A path or a body with remembered ids substituted for `{label}`."""
        if isinstance(value, str):
            return re.sub(r"{(\w+)}", lambda match: self.names.get(match[1], match[0]), value)
        if isinstance(value, dict):
            return {self.filled(name): self.filled(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.filled(inner) for inner in value]
        return value

    def end(self) -> None:
        """Remove the scenario's containers, volumes and dangling images."""
        self.engine.remove_containers()
        for volume in self.engine.get("/volumes")["Volumes"] or ():
            self.engine.request("DELETE", f"/volumes/{volume['Name']}?force=1")
        self.engine.request("POST", "/images/prune")

    def close(self) -> None:
        self.library.close()


@dataclass(frozen=True)
class Step:
    """One client action; `take` performs it and returns what was observed. A `quiet` step only prepares."""

    name: str
    take: Callable[[Subject], Observation]
    quiet: bool = False


@dataclass(frozen=True)
class Scenario:
    """Steps for engines that hold only the test images."""

    name: str
    steps: Sequence[Step] = field(default_factory=tuple)


def play(subject: Subject, scenario: Scenario) -> dict[str, Observation]:
    """Run the steps on one engine; returns the observation of each step that is not quiet, by name."""
    subject.begin()
    seen: dict[str, Observation] = {}
    try:
        for step in scenario.steps:
            observation = step.take(subject)
            if not step.quiet:
                assert step.name not in seen, f"two steps of {scenario.name} are called {step.name}"
                seen[step.name] = observation
    finally:
        subject.end()
    return seen


def api(
    method: str,
    path: str,
    body: Any = None,
    *,
    name: str = "",
    save: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    version: str | None = API,
    quiet: bool = False,
) -> Step:
    """A request. A body of bytes is sent as is, any other as JSON; `save` remembers fields of the answer."""

    def take(subject: Subject) -> Observation:
        prefix = f"/v{version}" if version else ""
        content, more = _content(subject.filled(body))
        with contextlib.closing(UnixConnection(subject.engine.socket)) as connection:
            connection.request(method, prefix + subject.filled(path), content, {**more, **(headers or {})})
            answer = connection.getresponse()
            received = answer.read()
        document = _document(answer, received)
        for label, key in (save or {}).items():
            if isinstance(document, dict) and document.get(key):
                subject.remember(label, document[key])
        return {
            "status": answer.status,
            **{f"header.{one}": value for one in HEADERS if (value := answer.getheader(one)) is not None},
            **subject.words.flat(document, "body"),
        }

    return Step(name or f"{method} {path}", take, quiet)


def _content(body: Any) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    if isinstance(body, bytes):
        return body, {}
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def _document(answer: http.client.HTTPResponse, content: bytes) -> Any:
    """The JSON document (a list if there are several lines), the frames of output, or text."""
    kind = answer.getheader("content-type") or ""
    if "json" in kind:
        texts = content.decode().splitlines()
        return json.loads(texts[0]) if len(texts) == 1 else [json.loads(text) for text in texts]
    return frames(content)


def create(name: str, *command: str, version: str = API, host: Any = None, **config: Any) -> Step:
    """Create a container from the test image, remembered under its name. Only prepares."""
    body = {"Image": "busybox:test", "Cmd": list(command or ("sleep", "1000")), "HostConfig": host or {}, **config}
    path = f"/containers/create?name={name}"
    return api("POST", path, body, name=f"create {name}", save={name: "Id"}, version=version, quiet=True)


def start(name: str) -> Step:
    """Start a container. Only prepares."""
    return api("POST", f"/containers/{name}/start", name=f"start {name}", quiet=True)


def ended(name: str) -> Step:
    """Wait until a container has exited. Only prepares."""
    return api("POST", f"/containers/{name}/wait", name=f"wait for {name}", quiet=True)


def ran(name: str, *command: str, **more: Any) -> list[Step]:
    """Create and start a container, and wait until it exits by itself."""
    return [create(name, *command, **more), start(name), ended(name)]


def running(name: str, *command: str, **more: Any) -> list[Step]:
    """Create and start a container."""
    return [create(name, *command, **more), start(name)]


def said(name: str, text: str) -> Step:
    """Wait until a container has written `text`. Only prepares."""

    def take(subject: Subject) -> Observation:
        with contextlib.closing(UnixConnection(subject.engine.socket)) as connection:
            connection.request("GET", f"/v{API}/containers/{name}/logs?stdout=1&follow=1")
            answer = connection.getresponse()
            assert any(text.encode() in line for line in answer), f"{name} never said {text}"
        return {}

    return Step(f"{name} says {text}", take, quiet=True)


def cli(*words: str, stdin: str = "", name: str = "", quiet: bool = False) -> Step:
    """A docker client command, pinned to the API version that both engines speak."""

    def take(subject: Subject) -> Observation:
        done = subprocess.run(
            ["docker", "-H", subject.engine.host, *subject.filled(list(words))],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "DOCKER_API_VERSION": API},
        )
        plain = subject.words.plain
        return {"exit": done.returncode, "stdout": _cells(plain(done.stdout)), "stderr": _cells(plain(done.stderr))}

    return Step(name or f"docker {' '.join(words)}", take, quiet)


def _cells(text: str) -> str:
    """Collapse column padding: its width depends on values specific to the engine."""
    return re.sub(r" {2,}", "  ", text)


def py(name: str, call: Callable[[docker_py.DockerClient], Any]) -> Step:
    """A docker-py call that returns a JSON-compatible value or raises one of docker-py's errors."""

    def take(subject: Subject) -> Observation:
        try:
            return subject.words.flat(call(subject.library), "value")
        except APIError as error:
            plain = subject.words.plain(str(error.explanation))
            return {"error": type(error).__name__, "status": error.status_code, "explanation": plain}
        except DockerException as error:
            return {"error": type(error).__name__, "text": subject.words.plain(str(error))}

    return Step(name, take)


def hijack(
    path: str, body: Any = None, *, send: bytes = b"", name: str = "", upgrade: bool = True, version: str = API
) -> Step:
    """A POST that is hijacked to a raw connection: send `send`, half-close, then read to the end."""

    def take(subject: Subject) -> Observation:
        content = b"" if body is None else json.dumps(subject.filled(body)).encode()
        head = [f"POST /v{version}{subject.filled(path)} HTTP/1.1", "Host: x"]
        head += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(subject.engine.socket))
            connection.sendall("\r\n".join([*head, "", ""]).encode() + content)
            with connection.makefile("rb") as reader:
                return _raw_answer(subject, connection, reader, send)

    return Step(name or f"hijack {path}", take)


def _raw_answer(subject: Subject, connection: socket.socket, reader: BinaryIO, send: bytes) -> Observation:
    first = reader.readline().decode().strip()
    told = dict(_header_lines(reader))
    shown = {f"header.{one}": told[one] for one in (*HEADERS, "connection", "upgrade") if one in told}
    if told.get("content-type") == "application/json":
        body: Any = json.loads(reader.read(int(told["content-length"])))
    else:
        connection.sendall(send)
        connection.shutdown(socket.SHUT_WR)
        body = frames(reader.read())
    return {"first line": first, **shown, **subject.words.flat(body, "body")}


def _header_lines(reader: BinaryIO) -> Iterator[tuple[str, str]]:
    while line := reader.readline().strip():
        name, _, value = line.decode().partition(":")
        yield name.lower(), value.strip()
