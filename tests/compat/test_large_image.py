"""A pulled image has the files umoci unpacks from it: all odd kinds, and with --large a realistic number."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.engines import Engine
from tests.support.large_image import write_large_layout
from tests.support.registry import Registry
from tests.support.trees import differences, tree

pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True)
class Large:
    """The image in a registry, and the files umoci unpacked from it."""

    reference: str
    expected: dict[str, str]


@pytest.fixture(scope="module")
def large(
    request: pytest.FixtureRequest, shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Large]:
    directory = tmp_path_factory.mktemp("large")
    layout, bundle, root = directory / "layout", directory / "bundle", directory / "registry"
    write_large_layout(layout, 70_000 if request.config.getoption("--large") else 3_000)
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:x", bundle], check=True)
    root.mkdir()
    with closing(Registry(root, prefix=shared_engine.prefix)) as registry:
        reference = registry.push(Path(f"{layout}:x"), "planks/large:x", transport="oci")
        yield Large(reference, tree(bundle / "rootfs/files"))
    subprocess.run(["rm", "-rf", directory], check=True)


def test_every_file_of_a_large_image_is_as_umoci_unpacks_it(
    client: Client, engine: Engine, large: Large, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    client("pull", large.reference, timeout_s=1200)
    took_s = time.monotonic() - began
    client("run", "-d", "--name", "large", large.reference, "sleep", "600")
    pid = engine.get("/containers/large/json")["State"]["Pid"]
    unpacked = tree(Path(f"/proc/{pid}/root/files"))
    client("rm", "-f", "large")
    client("rmi", large.reference)
    left_out = differences(unpacked, large.expected)
    assert not left_out, f"{len(left_out)} of {len(large.expected)} differ:\n" + "\n".join(left_out[:40])
    with capsys.disabled():
        print(f"\n{client.name}: {len(unpacked)} files pulled in {took_s:.1f} s, all as umoci has them")
