"""docker and sampan print the same output for the same daemon at the same time."""

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.support.clients import Client
from tests.support.engines import Engine, Sampand

IMAGE = "busybox:test"


@pytest.fixture(scope="module")
def busy(shared_engine: Engine) -> Iterator[Engine]:
    """An engine with containers in several states and with volumes."""
    if not isinstance(shared_engine, Sampand):
        pytest.skip("it is about sampan's daemon")
    docker = Client("docker", shared_engine)
    docker("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "-v", "held:/data", "-l", "tier=front", IMAGE,
           "httpd", "-f", "-p", "80")  # fmt: skip
    docker.run("run", "--name", "ended", "--network", "none", "--label", "long=x,y", IMAGE, "sh", "-c", "exit 3")
    docker(
        "create", "--name", "fresh", "--expose", "7000-7003", "--tmpfs", "/t", IMAGE, "sleep", "1234567890123456789"
    )
    docker("volume", "create", "--label", "plank=one", "unused")
    yield shared_engine
    shared_engine.remove_containers()
    for name in ("held", "unused"):
        shared_engine.request("DELETE", f"/volumes/{name}?force=1")


def both(engine: Engine, *words: str, stdin: str = "") -> tuple[tuple[int, str, str], tuple[int, str, str]]:
    """Exit status, stdout and stderr of each client, with elapsed times masked."""
    shown = []
    for name in ("docker", "sampan"):
        done = Client(name, engine).run(*words, stdin=stdin)
        shown.append((done.returncode, _timeless(done.stdout), _timeless(done.stderr)))
    return shown[0], shown[1]


def _timeless(text: str) -> str:
    text = re.sub(r"(Less than a|About an?|\d+) (second|minute)s?", "<while>", text)
    return re.sub(r" {2,}", "  ", text)


FORMATS = (
    "{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.CreatedAt}} {{.State}} {{.Ports}} {{.Labels}} {{.Mounts}}",
    '{{.LocalVolumes}} {{.Networks}} {{.Label "tier"}}',
    "table {{.Names}}\\t{{.Status}}\\t{{.Size}}",
    "{{.Names}}: {{json .Labels}}",
    "raw",
)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-a",),
        ("-a", "--no-trunc"),
        ("-aq",),
        ("-aq", "--no-trunc"),
        ("-as",),
        ("-l",),
        ("-n", "2"),
        ("--last", "1"),
        ("--filter", "name=web"),
        ("-a", "-f", "status=exited"),
        ("-a", "-f", "exited=3"),
        ("-f", "label=tier=front", "-a"),
        ("-f", "name=nobody"),
        ("-f", "nope"),
        ("-f", "nope=1"),
        *(("-a", "--format", text) for text in FORMATS[:-1]),
        ("--nope",),
        ("surplus",),
    ],
    ids=" ".join,
)
def test_ps(busy: Engine, flags: tuple[str, ...]) -> None:
    docker, sampan = both(busy, "ps", *flags)
    assert _own_name(sampan) == docker


def test_ps_as_json_has_the_same_fields(busy: Engine) -> None:
    docker, sampan = both(busy, "ps", "-a", "--format", "json")
    for theirs, ours in zip(docker[1].splitlines(), sampan[1].splitlines(), strict=True):
        assert json.loads(theirs).items() <= json.loads(ours).items()


@pytest.mark.parametrize(
    "words",
    [
        ("volume", "ls"),
        ("volume", "inspect", "unused"),
        ("images",),
        ("images", "-q", "--no-trunc"),
        ("inspect", "web"),
        ("inspect", "--size", "ended"),
        ("inspect", "--type", "image", IMAGE),
        ("inspect", "--type", "volume", "unused"),
        ("inspect", "--type", "network", "bridge"),
        ("inspect", "--type", "container", IMAGE),
        ("inspect", "-f", "{{.Name}} {{json .State.Status}}", "web", "ended"),
        ("inspect", "web", "nope"),
        ("container", "inspect", "nope"),
        ("network", "inspect", "nope"),
        ("port", "fresh"),
    ],
    ids=" ".join,
)
def test_other_looks(busy: Engine, words: tuple[str, ...]) -> None:
    docker, sampan = both(busy, *words)
    assert _own_name(sampan) == docker


def test_events(busy: Engine) -> None:
    Client("docker", busy)("volume", "create", "told")
    Client("docker", busy)("volume", "rm", "told")
    now = f"{time.time():.9f}"
    for more in (
        (),
        ("--filter", "type=volume"),
        ("--filter", "event=destroy", "--format", "{{.Type}} {{.Actor.ID}}"),
    ):
        docker, sampan = both(busy, "events", "--since", "0", "--until", now, *more)
        assert sampan[1].splitlines() == docker[1].splitlines()


def test_events_go_on_from_a_number(busy: Engine) -> None:
    sampan = Client("sampan", busy)
    lines = sampan("events", "--since", "seq:0", "--until", "0s", "--format", "json").splitlines()
    numbers = [json.loads(line)["sampanSeq"] for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    last = sampan("events", "--since", f"seq:{numbers[-2]}", "--until", "0s", "--format", "{{.sampanSeq}}")
    assert last.splitlines()[0] == str(numbers[-1])


def test_df_is_dockers_and_a_line_for_the_logs(busy: Engine) -> None:
    columns = ("--format", "table {{.Type}}\\t{{.TotalCount}}\\t{{.Active}}\\t{{.Size}}")
    docker, sampan = both(busy, "system", "df", *columns)
    assert sampan[1].startswith(docker[1])
    assert sampan[1].removeprefix(docker[1]).startswith("Container Logs  3  1  ")
    docker, sampan = both(busy, "system", "df", "-v")
    assert sampan[1].startswith(docker[1])
    assert sampan[1].removeprefix(docker[1]).startswith("\nContainer logs space usage:\n\n")


@pytest.mark.parametrize("template", ["{{.Nope}}", "{{"])
def test_a_template_that_is_none_fails(busy: Engine, template: str) -> None:
    docker, sampan = both(busy, "ps", "--format", template)
    assert sampan[:2] == docker[:2]


def test_info(busy: Engine) -> None:
    docker, sampan = both(busy, "info")
    assert _server_lines(docker[1]) - _server_lines(sampan[1]) == set()
    assert {line for line in docker[2].splitlines() if line} == {line for line in sampan[2].splitlines() if line}


def test_a_prune_that_is_not_wanted_removes_nothing(busy: Engine) -> None:
    for words in (("system",), ("container",), ("image",), ("volume",)):
        docker, sampan = both(busy, *words, "prune", stdin="n\n")
        assert (sampan[0], sampan[2]) == (docker[0], docker[2])
        assert sampan[1] == docker[1]
    assert len(busy.get("/containers/json?all=1")) == 3


@pytest.mark.parametrize("name", ["docker", "sampan"])
def test_system_prune_removes_what_nobody_uses(shared_engine: Engine, name: str) -> None:
    client = Client(name, shared_engine)
    shared_engine.remove_containers()
    ended = client("create", IMAGE, "true")
    client("volume", "create", "named")
    anonymous = json.loads(shared_engine.request("POST", "/volumes/create", {})[1])["Name"]
    shown = client("system", "prune", "-f", "--volumes")
    assert f"Deleted Containers:\n{ended}\n" in shown
    assert anonymous in shown.split()
    assert "Total reclaimed space: " in shown
    assert shared_engine.get("/containers/json?all=1") == []
    client("volume", "rm", "named")


def _server_lines(info: str) -> set[str]:
    """The server section; runtime names are sorted, since docker prints them in Go map order."""
    lines = info.partition("Server:")[2].splitlines()
    return {" ".join(sorted(line.split())) if line.startswith(" Runtimes: ") else line for line in lines}


def _own_name(shown: tuple[int, str, str]) -> tuple[int, str, str]:
    """The result with `docker` as the program's name in usage messages."""
    status, stdout, stderr = shown
    return status, stdout, stderr.replace("sampan", "docker")
