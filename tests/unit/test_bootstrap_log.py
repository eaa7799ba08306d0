"""What the daemon's log shows."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from sampan.bootstrap.log import log_to_stderr
from sampan.config import DaemonConfig

LIBRARIES = ("pyroute2", "asyncio")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("", *LIBRARIES)}
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_debug_shows_our_own_lines_and_not_those_of_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(DaemonConfig(debug=True))
    logging.getLogger("sampan.engine").debug("ours")
    for name in LIBRARIES:
        logging.getLogger(f"{name}.core").debug("a message was decoded")
    logging.getLogger("pyroute2").warning("something is wrong")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[2].partition(" ")[2] for line in lines] == [
        "DEBUG sampan.engine [-] ours",
        "WARNING pyroute2 [-] something is wrong",
    ]
