"""The real docker client against the API with the test's own handlers."""

import asyncio
import os
import shutil
from typing import Any

import pytest

from sampan import models
from sampan.engine import Job
from tests.support.serving import Serving

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="the docker client is not installed")
ID = "ab" * 32


async def docker(api: Serving, *arguments: str, stdin: bytes = b"") -> tuple[int | None, str, str]:
    """Exit status, stdout and stderr of the client."""
    process = await asyncio.create_subprocess_exec(
        "docker",
        *arguments,
        env={**os.environ, "DOCKER_HOST": f"unix://{api.path}"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(stdin), 60)
    return process.returncode, stdout.decode(), stderr.decode()


async def test_docker_version_and_ps(api: Serving) -> None:
    port = models.PortSummary(ip="0.0.0.0", private_port=80, public_port=8080)
    api.daemon.answers["system_version"] = models.SystemVersion(version="0.1.0", arch="amd64")
    api.daemon.answers["container_list"] = [
        models.ContainerSummary(id=ID, names=["/web"], image="busybox", state="running", status="Up", ports=[port])
    ]
    code, out, _ = await docker(api, "version", "--format", "{{.Server.Version}} {{.Server.Arch}}")
    assert (code, out) == (0, "0.1.0 amd64\n")
    code, out, _ = await docker(api, "ps", "--format", "{{.ID}} {{.Names}} {{.Ports}}")
    assert (code, out) == (0, "abababababab web 0.0.0.0:8080->80/tcp\n")


async def test_docker_attach_passes_input_its_end_and_both_outputs(api: Serving) -> None:
    async def attach(job: Job[Any]) -> None:
        assert job.streams is not None
        await job.streams.accept(multiplexed=True)
        while content := await job.streams.read():
            await job.streams.write(1, content.upper())
        await job.streams.write(2, b"end of input\n")

    async def wait(job: Job[Any]) -> None:
        assert job.output is not None
        await job.output.write(models.WaitResult(status_code=3))

    api.daemon.answers["container_attach"] = attach
    api.daemon.answers["container_wait"] = wait
    api.daemon.answers["container_inspect"] = models.ContainerInspect(
        id=ID,
        state=models.ContainerState(status="running", running=True),
        config=models.ContainerConfig(open_stdin=True, attach_stdin=True),
    )
    assert await docker(api, "attach", "web", stdin=b"hello\n") == (3, "HELLO\n", "end of input\n")


async def test_docker_shows_our_refusals(api: Serving) -> None:
    code, _, err = await docker(api, "swarm", "init")
    assert code == 1
    assert "sampan does not serve POST /swarm/init yet" in err
