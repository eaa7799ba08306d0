"""pull, load, import, tag, images, rmi."""

import bz2
import gzip
import json
import lzma
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Archives
from tests.support.clients import Client
from tests.support.engines import Dockerd, Engine, running
from tests.support.images import busybox_layer
from tests.support.processes import await_line
from tests.support.registry import Registry

IMAGE = "busybox:test"
LIST_FILES = (
    "find bin tree hidden labelled dangling www usr tmp a* ! -name '.wh.*' | sort | "
    "while read -r f; do "
    "if [ -d $f ]; then stat -c '%n %f %u:%g %Y' $f; else stat -c '%N %f %u:%g %s %h %Y' $f; fi; done"
)


@pytest.fixture
def pulled(client: Client, registry: Registry) -> Iterator[str]:
    reference = f"{registry.host}/planks/layered:test"
    client("pull", reference)
    yield reference
    client("rmi", reference)


def test_pull_makes_the_image_that_was_pushed(client: Client, pulled: str, archives: Archives) -> None:
    shown = json.loads(client("image", "inspect", pulled))[0]
    assert shown["Id"] == archives.layered_id
    assert len(shown["RootFS"]["Layers"]) == 4
    assert shown["Config"]["Labels"] == {"planks": "3"}
    assert shown["RepoDigests"][0].startswith(pulled.rpartition(":")[0] + "@sha256:")


def test_a_second_pull_says_that_the_image_is_up_to_date(client: Client, pulled: str) -> None:
    assert f"Status: Image is up to date for {pulled}" in client("pull", pulled)


def test_pull_by_digest(client: Client, pulled: str) -> None:
    digest = json.loads(client("image", "inspect", pulled))[0]["RepoDigests"][0]
    assert f"Digest: {digest.partition('@')[2]}" in client("pull", digest)


def test_pulled_files_are_those_that_umoci_unpacks(
    client: Client, pulled: str, archives: Archives, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--quiet", f"docker-archive:{archives.layered}", f"oci:{layout}:x"],
        check=True,
    )
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:x", tmp_path / "bundle"], check=True)
    expected = subprocess.run(
        ["/bin/busybox", "sh", "-c", LIST_FILES],
        cwd=tmp_path / "bundle/rootfs", env={"PATH": "/nowhere"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert client("run", "--rm", pulled, "sh", "-c", LIST_FILES).splitlines() == expected.stdout.splitlines()


def test_pull_of_an_unknown_name_says_so(client: Client, registry: Registry) -> None:
    done = client.run("pull", f"{registry.host}/planks/nothing:test")
    assert done.returncode == 1
    assert f"manifest for {registry.host}/planks/nothing:test not found: manifest unknown" in done.stderr


def test_run_pulls_what_is_missing(client: Client, registry: Registry) -> None:
    reference = f"{registry.host}/planks/layered:test"
    done = client.run("run", "--rm", reference, "cat", "tree/changed")
    assert done.stdout == "new\n"
    assert f"Unable to find image '{reference}' locally" in done.stderr
    client("rmi", reference)


def test_load_of_a_docker_archive_names_the_image(client: Client, archives: Archives) -> None:
    assert "Loaded image: layered:test" in client("load", "--input", str(archives.layered))


def test_load_of_an_oci_archive_from_skopeo(client: Client, oci_archive: Path, archives: Archives) -> None:
    if isinstance(client.engine, Dockerd):
        pytest.skip("dockerd 20.10 does not know the format")
    loaded = client("load", "--input", str(oci_archive))
    assert "Loaded image" in loaded
    name = loaded.partition(": ")[2].strip()
    assert (
        json.loads(client("image", "inspect", name))[0]["RootFS"]
        == json.loads(client("image", "inspect", "layered:test"))[0]["RootFS"]
    )
    assert client("run", "--rm", name, "cat", "hidden/above") == "above"


def test_load_of_what_docker_save_wrote(
    client: Client, session_dir: Path, archives: Archives, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.tar"
    with running(Dockerd(session_dir / "saver", ["--bridge", "none", "--iptables=false"])) as saver:
        other = Client("docker", saver)
        other("load", "--input", str(archives.layered))
        other("tag", "layered:test", "saved:test")
        other("save", "--output", str(saved), "saved:test")
    assert "Loaded image: saved:test" in client("load", "--input", str(saved))
    assert client("run", "--rm", "saved:test", "cat", "hidden/above") == "above"
    client("rmi", "saved:test")


def test_import_makes_an_image_of_a_tar(client: Client, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(busybox_layer())
    client("import", "--change", 'CMD ["echo", "imported"]', str(tmp_path / "root.tar"), "imported:test")
    assert client("run", "--rm", "imported:test") == "imported"
    client("rmi", "imported:test")


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """A web server on the engine's loopback that serves `tmp_path`."""
    command = [*engine.prefix, sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        yield "http://127.0.0.1:" + re.findall(r"port (\d+)", await_line(server.stdout, "Serving HTTP"))[0]
        server.terminate()


@pytest.mark.parametrize("name", ["root.tar", "root.tar.gz", "root.tar.bz2", "root.tar.xz"])
def test_import_from_a_url_takes_what_a_tar_may_be_compressed_with(
    client: Client, engine: Engine, site: str, tmp_path: Path, name: str
) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    content = packers.get(Path(name).suffix, bytes)(busybox_layer())
    (tmp_path / name).write_bytes(content)
    printed = client("import", "--change", 'CMD ["echo", "imported"]', f"{site}/{name}", "imported:test")
    assert f"Downloading from {site}/{name}" in printed
    assert engine.get("/images/imported:test/json")["Comment"] == f"Imported from {site}/{name}"
    assert client("run", "--rm", "imported:test") == "imported"
    client("rmi", "imported:test")


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("{site}/missing", 404, "failed to GET {site}/missing with status 404 File not found: "),
        ("ftp://127.0.0.1/x", None, 'Get "ftp://127.0.0.1/x": unsupported protocol scheme "ftp"'),
        ("file:///etc/passwd", None, 'Get "file:///etc/passwd": unsupported protocol scheme "file"'),
    ],
)
def test_an_import_from_where_nothing_is_says_so(
    engine: Engine, site: str, path: str, status: int | None, message: str
) -> None:
    expected = status or (500 if isinstance(engine, Dockerd) else 400)  # a wrong scheme is a server error to Docker
    answered, body = engine.request("POST", f"/images/create?fromSrc={quote(path.format(site=site), safe='')}")
    assert (answered, json.loads(body)["message"][: len(message.format(site=site))]) == (
        expected,
        message.format(site=site),
    )


def test_tag_and_rmi_untag_before_they_delete(client: Client, engine: Engine) -> None:
    client("tag", IMAGE, "other/name:1")
    assert "Untagged: other/name:1" in client("rmi", "other/name:1")
    assert engine.request("GET", f"/images/{IMAGE}/json")[0] == 200


def test_rmi_of_an_image_in_use_is_a_conflict(client: Client, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(busybox_layer())
    client("import", str(tmp_path / "root.tar"), "inuse:1")
    container = client("create", "--name", "user", "inuse:1", "true")
    done = client.run("rmi", "inuse:1")
    assert done.returncode == 1
    assert re.search(
        r'conflict: unable to remove repository reference "inuse:1" \(must force\) - '
        rf"container {container[:12]} is using its referenced image [0-9a-f]{{12}}",
        done.stderr,
    )
    client("rm", "user")
    client("rmi", "inuse:1")


def test_images_lists_names_and_ids(client: Client, archives: Archives) -> None:
    lines = client("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
    assert f"busybox:test {archives.busybox_id}" in lines
    assert f"layered:test {archives.layered_id}" in lines


def test_a_corrupt_archive_is_refused_and_leaves_nothing(client: Client, archives: Archives, tmp_path: Path) -> None:
    before = client("images", "-a", "--quiet", "--no-trunc")
    broken = tmp_path / "broken.tar"
    broken.write_bytes(archives.layered.read_bytes()[:-200_000] + b"\xff" * 199_000)
    done = client.run("load", "--input", str(broken))
    assert done.returncode == 1
    assert done.stderr.strip()
    assert client("images", "-a", "--quiet", "--no-trunc") == before
