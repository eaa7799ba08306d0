"""How the guest-kernel harness handles a machine, for which a Python program stands in."""

import sys
import textwrap
from pathlib import Path

import pytest

from tools.guest import console
from tools.guest.console import NO_GUEST, TIMED_OUT, Line, Patience

UNHURRIED = Patience(60)
PRELUDE = """
import os, sys
output, control = int(sys.argv[1]), int(sys.argv[2])
say = lambda text: os.write(control, text)
show = lambda text: os.write(output, text)
hear = lambda: os.read(control, 100)
"""


class Guest:
    """A machine that runs `script`, and a kernel that answers `kernel`, or nothing."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "log"
        self.kernel: str | None = None

    def run(self, script: str, patience: Patience = UNHURRIED) -> int:
        def command(output: Line, control: Line) -> list[str]:
            words = PRELUDE + textwrap.dedent(script)
            return [sys.executable, "-c", words, str(output.fd), str(control.fd)]

        return console.run(command, self.log, patience, self.ask_kernel)

    def ask_kernel(self) -> str:
        if self.kernel is None:
            raise ConnectionRefusedError("nobody is there")
        return self.kernel


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def test_output_is_passed_on_and_the_status_is_the_commands(
    guest: Guest, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert guest.run(r"say(b'ready\n'); show(b'one\n'); show(b'two\n'); say(b'exit 3\n')") == 3
    assert capfdbinary.readouterr() == (b"one\ntwo\n", b"")


def test_a_machine_that_ends_before_its_command_is_no_guest(guest: Guest, capfd: pytest.CaptureFixture[str]) -> None:
    assert guest.run("print('panic', flush=True)") == NO_GUEST
    assert capfd.readouterr().err == "guest: the guest ended without a word\npanic\n\n"


def test_a_machine_that_does_not_come_up_is_given_up(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_BOOT_S", 0.1)
    assert guest.run("hear()") == NO_GUEST
    assert "no guest after 0.1 s" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("patience", "words"),
    [
        (Patience(0.2), "the command did not end within 0.2 s"),
        (Patience(60, silence_s=0.2), "the command said nothing for 0.2 s"),
    ],
)
@pytest.mark.parametrize("last", [r"reported\n", r"exit 134\n"])
def test_a_guest_whose_time_is_over_is_asked_for_a_report(
    guest: Guest, capfd: pytest.CaptureFixture[str], patience: Patience, words: str, last: str
) -> None:
    script = rf"say(b'ready\n'); assert hear() == b'report\n'; show(b'all sleep\n'); say(b'{last}')"
    assert guest.run(script, patience) == TIMED_OUT
    assert capfd.readouterr() == ("all sleep\n", f"guest: {words}\n\n")


def test_output_ends_a_silence(guest: Guest) -> None:
    talk = r"[(show(b'.'), time.sleep(0.4)) for _ in range(6)]"
    assert guest.run(rf"import time; say(b'ready\n'); {talk}; say(b'exit 0\n')", Patience(60, silence_s=2.0)) == 0


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (None, "guest: neither its programs nor its kernel answer: nobody is there"),
        ("a task is blocked", "guest: its programs do not answer; its kernel says\na task is blocked"),
    ],
)
def test_a_guest_that_does_not_report_has_its_kernel_asked(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kernel: str | None, words: str
) -> None:
    monkeypatch.setattr(console, "_REPORT_S", 0.1)
    guest.kernel = kernel
    assert guest.run(r"say(b'ready\n'); hear(); hear()", Patience(0.1)) == TIMED_OUT
    assert capfd.readouterr().err == f"guest: the command did not end within 0.1 s\n\n{words}\n"
