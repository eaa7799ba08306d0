"""An image with as many layers as Docker allows: 125 (moby daemon/internal/layer/layer_store.go, maxLayerDepth)."""

from pathlib import Path

import pytest

from tests.conftest import EngineFactory
from tests.support.clients import Client
from tests.support.images import Entry, busybox_layer, docker_archive, layer

pytestmark = pytest.mark.root
LAYERS = 124


@pytest.mark.timeout(600)
def test_an_image_of_very_many_layers_runs_and_grows(start_sampand: EngineFactory, tmp_path: Path) -> None:
    uppers = [
        layer([Entry(f"of/{number}", b"x\n"), Entry("of/all", b"%d\n" % number)]) for number in range(1, LAYERS)
    ]
    docker_archive(tmp_path / "many.tar", "many:test", [busybox_layer(), *uppers])
    docker = Client("docker", start_sampand())
    docker("load", "-q", "-i", str(tmp_path / "many.tar"))
    look = ("sh", "-c", "ls /of | wc -l; cat /of/all")
    assert docker("run", "--rm", "many:test", *look).split() == [str(LAYERS), str(LAYERS - 1)]
    docker("run", "--name", "box", "many:test", "sh", "-c", "echo new >/of/all; rm /of/1")
    docker("commit", "box", "more:test")
    assert docker("run", "--rm", "more:test", *look).split() == [str(LAYERS - 1), "new"]
    done = docker.run("commit", docker("create", "more:test"), "most:test")
    assert (done.returncode, done.stderr.strip()) == (0, "")  # nothing changed, so no new layer
    docker("run", "--name", "top", "more:test", "touch", "/top")
    done = docker.run("commit", "top", "most:test")
    assert "max depth exceeded" in done.stderr
    assert len(docker("inspect", "-f", '{{join .RootFS.Layers " "}}', "more:test").split()) == LAYERS + 1
