"""The program as a whole: finding commands, help, plugins, completion, and what startup may import."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sampan import __version__
from sampan.cli.command import SWITCH, Command, Flag, parse_flags
from sampan.cli.commands import GROUPS, HIDDEN, TOP, Entry
from sampan.cli.main import GLOBAL_FLAGS, load
from sampan.cli.session import Session
from tests.unit.cli.conftest import PROGRAM, Answer, FakeEngine, Outcome

Main = Callable[..., Outcome]
HEAVY = (
    "aiohttp",
    "asyncio",
    "click",
    "dataclasses",
    "fastapi",
    "http.client",
    "inspect",
    "pathlib",
    "pydantic",
    "rich",
    "ssl",
)
PATHS = [(name,) for name in TOP] + [(name, member) for name, group in GROUPS.items() for member in group.members]
ENTRIES = [*TOP.values(), *HIDDEN.values(), *(entry for group in GROUPS.values() for entry in group.members.values())]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.module}.{entry.attribute}")
def test_every_command_is_where_the_table_says(entry: Entry) -> None:
    command = load(entry)
    assert isinstance(command, Command)
    assert entry.summary == command.summary
    names, shorts = [flag.name for flag in command.flags], [flag.short for flag in command.flags if flag.short]
    assert (len(set(names)), len(set(shorts))) == (len(names), len(shorts))
    assert names == sorted(names)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...], main: Main) -> None:
    outcome = main(*path, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage:  sampan {' '.join(path)}")
    assert main("help", *path).out == outcome.out


def test_help_of_a_command_lists_flags_and_other_names(main: Main) -> None:
    out = main("container", "rm", "--help").out
    assert "\nAliases:\n  sampan container rm, sampan container remove, sampan rm\n" in out
    assert "\nOptions:\n  -f, --force     Force the removal of a running container (uses SIGKILL)\n" in out


def test_help_of_the_program_and_of_a_group(main: Main, no_plugins: None) -> None:
    out = main().out
    assert out == main("--help").out
    assert "\nCommon Commands:\n  run         Create and run a new container from an image\n" in out
    assert "\nManagement Commands:\n  container   Manage containers\n" in out
    assert "\n  -H, --host list " in out
    assert main("volume").out.startswith("Usage:  sampan volume COMMAND\n\nManage volumes\n\nCommands:\n  create ")
    assert main("help", "nonsense").status == 1


def test_the_version_is_told(main: Main) -> None:
    assert main("--version").out == main("-v").out == f"sampan version {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["nope"], 1, "sampan: unknown command: sampan nope\n\nRun 'sampan --help' for more information\n"),
        (["volume", "nope"], 1, "sampan: unknown command: sampan volume nope\n\nUsage:  sampan volume\n"),
        (["--nope"], 125, "unknown flag: --nope\n\nUsage:  sampan [OPTIONS] COMMAND [ARG...]\n\nRun 'sampan --help'"),
        (["ps", "--nope"], 125, "unknown flag: --nope\n\nUsage:  sampan ps [OPTIONS]\n\nRun 'sampan ps --help'"),
        (["container", "--nope"], 125, "unknown flag: --nope\n\nUsage:  sampan container COMMAND\n"),
        (["run"], 1, "sampan: 'sampan run' requires at least 1 argument\n\nUsage:  sampan run [OPTIONS] IMAGE"),
        (["ps", "x"], 1, "sampan: 'sampan ps' accepts no arguments\n"),
    ],
)
def test_a_wrong_command_line_says_how_it_goes(
    argv: list[str], status: int, message: str, main: Main, no_plugins: None
) -> None:
    outcome = main(*argv)
    assert (outcome.status, outcome.out) == (status, "")
    assert outcome.err.startswith(message)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"{nonsense"), "error during connect: malformed JSON b'{nonsense' in the answer\n"),
        (Answer({"message": "no"}, 503), "Error response from daemon: no\n"),
    ],
)
def test_a_broken_answer_is_a_message_not_a_traceback(
    answer: Answer, message: str, engine: FakeEngine, main: Main
) -> None:
    engine.on("GET", "/containers/json", answer)
    assert main("ps") == Outcome(1, "", message)


def test_the_host_is_found_by_flag_then_by_variables(
    engine: FakeEngine, main: Main, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine.on("GET", "/volumes", {"Volumes": []})
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker")
    assert f"unix://{tmp_path}/docker" in main("volume", "ls").err
    monkeypatch.setenv("SAMPAN_HOST", f"unix://{tmp_path}/sampan")
    assert f"unix://{tmp_path}/sampan" in main("volume", "ls").err
    assert main("-H", engine.host, "volume", "ls").status == 0


def test_without_any_address_it_is_our_own_socket(main: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("SAMPAN_HOST", raising=False)
    assert Session(parse_flags(GLOBAL_FLAGS, [], interspersed=False)).host == "unix:///run/sampan/sampan.sock"


def test_a_reader_that_goes_away_is_no_error(engine: FakeEngine) -> None:
    volumes = [{"Name": f"volume-{number}", "Driver": "local"} for number in range(20_000)]
    engine.on("GET", "/volumes", {"Volumes": volumes})
    with subprocess.Popen([*PROGRAM, "volume", "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.readline()
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(30) == 141


def test_a_start_imports_nothing_heavy(engine: FakeEngine) -> None:
    engine.on("GET", "/version", {"Version": "1", "ApiVersion": "1.48", "Os": "linux", "Arch": "amd64"})
    code = (
        "import sys; from sampan.cli.main import main; main(['version']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that packages offer these modules as plugins in the group `sampan`."""

    def install(**plugins: Any) -> None:
        def load_of(plugin: Any) -> Callable[[], Any]:
            def load() -> Any:
                if isinstance(plugin, Exception):
                    raise plugin
                return plugin

            return load

        found = [
            SimpleNamespace(
                name=name, value=name, load=load_of(plugin), dist=SimpleNamespace(name=name, version="1.2")
            )
            for name, plugin in plugins.items()
        ]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found if group == "sampan" else [])

    return install


@pytest.fixture
def no_plugins(installed: Callable[..., None]) -> None:
    installed()


def _greet(session: Any, options: Any) -> int:
    session.say(f"{'HELLO' if options.on('loud') else 'hello'} {options.args[0]}")
    return 7


GREET = Command("greet [OPTIONS] NAME", "Greet somebody", _greet, (Flag("loud", "Shout", SWITCH),), least=1, most=1)


def test_a_package_adds_a_command(installed: Callable[..., None], main: Main) -> None:
    installed(greeter=SimpleNamespace(sampan_cli_command=lambda: GREET), driver=SimpleNamespace())
    assert main("greet", "--loud", "you") == Outcome(7, "HELLO you\n", "")
    assert main("greet").err.startswith("sampan: 'sampan greet' requires 1 argument\n")
    assert "\nCommands of Plugins:\n  greet       Greet somebody\n" in main("--help").out
    assert main("help", "greet").out.startswith("Usage:  sampan greet [OPTIONS] NAME\n\nGreet somebody\n")


def test_a_broken_plugin_is_named_and_left_out(installed: Callable[..., None], main: Main) -> None:
    installed(
        bad=ImportError("no module named x"),
        odd=SimpleNamespace(sampan_cli_command=lambda: "greet"),
        good=SimpleNamespace(sampan_cli_command=lambda: [GREET]),
    )
    outcome = main("greet", "you")
    assert (outcome.status, outcome.out) == (7, "hello you\n")
    first, second = outcome.err.splitlines()
    assert first == "WARNING: commands of plugin bad 1.2 are left out: no module named x"
    assert second.startswith("WARNING: commands of plugin odd 1.2 are left out: sampan_cli_command answered 'greet'")


def test_the_first_plugin_of_a_name_wins_and_none_takes_ours(installed: Callable[..., None], main: Main) -> None:
    other = GREET._replace(run=lambda *_: 1)
    installed(
        one=SimpleNamespace(sampan_cli_command=lambda: GREET),
        two=SimpleNamespace(sampan_cli_command=lambda: [other, GREET._replace(usage="ps")]),
    )
    outcome = main("greet", "you")
    assert (outcome.status, outcome.out) == (7, "hello you\n")
    assert outcome.err == "WARNING: command 'greet' of plugin two 1.2 is left out: another plugin has that name\n"
    assert main("ps", "--help").out.startswith("Usage:  sampan ps [OPTIONS]\n\nList containers")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_the_program(shell: str, main: Main) -> None:
    assert "sampan __complete -- " in main("completion", shell).out


def test_completion_of_an_unknown_shell_fails(main: Main) -> None:
    assert main("completion", "tcsh").err == 'unknown shell "tcsh": must be one of "bash", "zsh", "fish"\n'


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["ru"], ["run"]),
        (["vol"], ["volume"]),
        (["volume", "c"], ["create"]),
        (["container", "ps", "--no"], ["--no-trunc"]),
        (["--tlsv"], ["--tlsverify"]),
        (["-H", "unix:///x", "volume", "r"], ["rm"]),
        (["run", "--net"], ["--network", "--network-alias"]),
        (["stop", ""], ["web"]),
        (["rm", "o"], ["old"]),
        (["run", "-it", "b"], ["bb:latest"]),
        (["run", "--name", ""], []),
        (["volume", "rm", "d"], ["data"]),
        (["volume", "rm", "other", "d"], ["data"]),
        (["volume", "create", "d"], []),
        (["network", "rm", ""], ["sea"]),
        (["network", "connect", "--ip", "10.0.0.9", "s"], ["sea"]),
        (["network", "connect", "sea", ""], ["old", "web"]),
        (["network", "create", ""], []),
        (["push", "b"], ["bb:latest"]),
        (["pull", "b"], []),
        (["save", "-o", "file", "bb", ""], ["bb:latest"]),
        (["commit", "web", "b"], ["bb:latest"]),
        (["diff", ""], ["old", "web"]),
        (["export", "o"], ["old"]),
        (["rename", "web", ""], []),
        (["run", "bb", ""], []),
        (["exec", "web", ""], []),
        (["cp", ""], []),
        (["stats", ""], ["web"]),
        (["nonsense", ""], []),
    ],
)
def test_words_complete(words: list[str], found: list[str], engine: FakeEngine, main: Main) -> None:
    containers = [{"Names": ["/web"]}, {"Names": ["/old"]}]
    engine.on("GET", "/containers/json", lambda request: containers if "all" in request.query else containers[:1])
    engine.on("GET", "/images/json", [{"RepoTags": ["bb:latest"]}, {"RepoTags": None}])
    engine.on("GET", "/volumes", {"Volumes": [{"Name": "data"}]})
    engine.on("GET", "/networks", [{"Name": "sea"}])
    assert main("__complete", "--", *words).out.split() == found
