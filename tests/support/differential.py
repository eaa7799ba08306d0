"""Run the same steps on Docker and on sampan, and report the differences that have no known reason.

Known reasons are in a file. An entry names, as patterns, steps (`SCENARIO/STEP`) and fields of their answers, and
says why they differ, or gives a text and its replacement.
"""

import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.support.clients import Client
from tests.support.engines import Dockerd, Engine, Sampand, running
from tests.support.steps import Scenario, Subject, play

MISSING = "(missing)"


@dataclass(frozen=True)
class Difference:
    """One leaf of a step's observation that is not the same."""

    step: str
    field: str
    docker: Any
    sampan: Any

    def __str__(self) -> str:
        return f"{self.step} | {self.field}\n    docker: {self.docker!r}\n    sampan: {self.sampan!r}"


@dataclass(frozen=True)
class Known:
    """A `difference` entry of the file: covers steps and fields that match its patterns, whatever the values."""

    fields: tuple[str, ...]
    reason: str
    steps: tuple[str, ...] = ("*",)

    def covers(self, one: Difference) -> bool:
        return any(fnmatchcase(one.step, step) for step in self.steps) and any(
            fnmatchcase(one.field, field) for field in self.fields
        )


@dataclass(frozen=True)
class Reworded:
    """A `reworded` entry of the file: one text in place of another, in any field."""

    docker: str
    sampan: str
    source: str

    def covers(self, one: Difference) -> bool:
        match = re.fullmatch(self.docker, one.docker) if isinstance(one.docker, str) else None
        return match is not None and match.expand(self.sampan) == one.sampan


class Pair:
    """Docker and sampan, each with the test images; each scenario is run once on both."""

    def __init__(self, docker: Subject, sampan: Subject) -> None:
        self._subjects = (docker, sampan)
        self._differences: dict[str, list[Difference]] = {}
        self._threads = ThreadPoolExecutor(2)

    def differences(self, scenario: Scenario) -> list[Difference]:
        if scenario.name not in self._differences:
            docker, sampan = self._threads.map(lambda subject: play(subject, scenario), self._subjects)
            self._differences[scenario.name] = [
                Difference(f"{scenario.name}/{step}", field, docker[step].get(field, MISSING), seen)
                for step, observation in sampan.items()
                for field in sorted(docker[step].keys() | observation.keys())
                if (seen := observation.get(field, MISSING)) != docker[step].get(field, MISSING)
            ]
        return self._differences[scenario.name]

    def close(self) -> None:
        self._threads.shutdown()


@contextmanager
def started_pair(directory: Path, archives: Sequence[Path], marks: list[str]) -> Iterator[Pair]:
    """Both engines below `directory`, with the images of `archives`; their leak marks are added to `marks`."""
    with ExitStack() as undo:

        def subject(kind: Callable[..., Engine]) -> Subject:
            engine = kind(Path(tempfile.mkdtemp(prefix="x", dir=directory)), ())
            marks.extend(engine.marks)
            undo.enter_context(running(engine))
            for archive in archives:
                Client("docker", engine)("load", "--input", str(archive))
            return undo.enter_context(closing(Subject(engine)))

        yield undo.enter_context(closing(Pair(subject(Dockerd), subject(Sampand))))


def read_known(file: Path) -> list[Known | Reworded]:
    """The entries of the file."""
    document = tomllib.loads(file.read_text())
    differences = [
        Known(tuple(one["fields"]), one["reason"], tuple(one.get("steps", ("*",)))) for one in document["difference"]
    ]
    return [*differences, *(Reworded(**one) for one in document.get("reworded", ()))]


def assert_all_known(pair: Pair, scenario: Scenario, known: Sequence[Known | Reworded]) -> None:
    """Assert that each difference has a known reason."""
    unknown = [one for one in pair.differences(scenario) if not any(entry.covers(one) for entry in known)]
    assert not unknown, f"{len(unknown)} differences\n" + "\n".join(map(str, unknown))


def assert_none_stale(pair: Pair, scenarios: Sequence[Scenario], known: Sequence[Known | Reworded]) -> None:
    """Assert that each known reason still covers a difference."""
    found = [one for scenario in scenarios for one in pair.differences(scenario)]
    stale = [entry for entry in known if not any(entry.covers(one) for one in found)]
    assert not stale, "these differ no more, or their step is gone:\n" + "\n".join(map(str, stale))
