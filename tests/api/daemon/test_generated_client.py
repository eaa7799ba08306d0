"""A client generated from our OpenAPI document works unmodified."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.api.daemon.in_process import IMAGE, InProcess

PACKAGE = "generated_sampan_client"
BYTES = (  # types that the generator does not know by default
    "application/vnd.docker.multiplexed-stream",
    "application/vnd.docker.raw-stream",
    "application/x-tar",
)


@pytest.fixture
def library(house: InProcess, tmp_path: Path) -> Iterator[ModuleType]:
    """The generated package; the generator has no warnings about the document."""
    document, config = tmp_path / "openapi.json", tmp_path / "config.json"
    document.write_text(json.dumps(house.call("GET", "/openapi.json").body))
    overrides = dict.fromkeys(BYTES, "application/octet-stream")
    config.write_text(json.dumps({"content_type_overrides": overrides, "post_hooks": []}))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--path", document, "--config", config, "--output-path", tmp_path / PACKAGE),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(tmp_path))
    yield import_module(PACKAGE)
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_a_container_lives_its_life(house: InProcess, library: ModuleType) -> None:
    models: Any = import_module(f"{PACKAGE}.models")

    def ask(operation: str, **arguments: Any) -> Any:
        return import_module(f"{PACKAGE}.api.{operation}").sync(client=client, **arguments)

    transport = httpx.HTTPTransport(uds=str(house.socket))
    with library.Client(
        base_url="http://sampan", raise_on_unexpected_status=True, httpx_args={"transport": transport}
    ) as client:
        assert ask("container.container_list") == []
        body = models.CreateContainerBody(
            image=IMAGE,
            cmd=["sleep", "infinity"],
            host_config=models.HostConfig(auto_remove=False),
        )
        made = ask("container.container_create", body=body, name="web")
        assert isinstance(made, models.ContainerCreated)
        ask("container.container_start", name="web")
        [listed] = ask("container.container_list")
        assert (listed.id, listed.names, listed.state) == (made.id, ["/web"], "running")
        found = ask("container.container_inspect", name="web")
        assert (found.name, found.state.running, found.config.cmd) == ("/web", True, ["sleep", "infinity"])
        ask("container.container_stop", name="web", t=0)
        assert ask("container.container_inspect", name="web").state.status == "exited"
        ask("container.container_delete", name="web")
        missing = ask("container.container_inspect", name="web")
        assert isinstance(missing, models.ErrorResponse)
        assert missing.message == "No such container: web"
        assert ask("system.system_info").containers == 0
        assert [image.repo_tags for image in ask("image.image_list") if image.repo_tags == [IMAGE]]
