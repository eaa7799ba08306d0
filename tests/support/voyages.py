"""Random container operations by several concurrent clients, checked against a model.

Each client has its own container, for which the model predicts every answer, and all compete for a few shared ones,
for which it knows only which answers are allowed. A seed determines what each client does; the interleaving is up to
the scheduler.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

ABSENT, CREATED, RUNNING, PAUSED, EXITED = "absent", "created", "running", "paused", "exited"
STATES = (ABSENT, CREATED, RUNNING, PAUSED, EXITED)
SHARED = ("ark", "brig", "cog")
SAME = None
Answers = Mapping[str, tuple[int, str | None]]
EXEC = {"Cmd": ["true"]}


class Ask(Protocol):
    """Makes one request; returns status and body."""

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]: ...


def _answers(*told: int | tuple[int, str]) -> Answers:
    """Status and next state for each of STATES; a bare status means no state change."""
    full = [one if isinstance(one, tuple) else (one, SAME) for one in told]
    return dict(zip(STATES, full, strict=True))


MODEL: Mapping[tuple[str, str], Answers] = {
    # answers are in the order of STATES
    ("POST", "start"): _answers(404, (204, RUNNING), 304, 409, (204, RUNNING)),
    ("POST", "stop?t=0"): _answers(404, 304, (204, EXITED), (204, EXITED), 304),
    ("POST", "restart?t=0"): _answers(404, (204, RUNNING), (204, RUNNING), (204, RUNNING), (204, RUNNING)),
    ("POST", "kill"): _answers(404, 409, (204, EXITED), (204, EXITED), 409),
    ("POST", "kill?signal=WINCH"): _answers(404, 409, 204, (204, RUNNING), 409),
    ("POST", "pause"): _answers(404, 409, (204, PAUSED), 409, 409),
    ("POST", "unpause"): _answers(404, 409, 409, (204, RUNNING), 409),
    ("POST", "update"): _answers(404, 200, 200, 200, 200),
    ("POST", "exec"): _answers(404, 409, 201, 409, 409),
    ("GET", "json"): _answers(404, 200, 200, 200, 200),
    ("GET", "logs?stdout=1"): _answers(404, 200, 200, 200, 200),
    ("DELETE", ""): _answers(404, (204, ABSENT), 409, 409, (204, ABSENT)),
    ("DELETE", "?force=1"): _answers(404, (204, ABSENT), (204, ABSENT), (204, ABSENT), (204, ABSENT)),
}  # fmt: skip
_BODIES: Mapping[str, Any] = {"update": {"CpuShares": 512}, "exec": EXEC}
_ALLOWED = frozenset({200, 201, 204, 304, 404, 409})


class Voyage:
    """One client's random operations. `mistakes` are the answers that contradict the model."""

    def __init__(self, ask: Ask, name: str, seed: int, shapes: list[dict[str, Any]]) -> None:
        self._ask = ask
        self._random = random.Random(f"{seed} {name}")
        self._shapes = shapes
        self._names = [name, f"{name}-renamed"]
        self.state = ABSENT
        self.mistakes: list[str] = []

    @property
    def name(self) -> str:
        """The current name of its own container."""
        return self._names[0]

    def run(self, steps: int) -> None:
        """Perform `steps` operations in sequence."""
        for _ in range(steps):
            self._random.choice((self._own, self._own, self._shared))()

    def _own(self) -> None:
        kinds: tuple[Callable[[], None], ...] = (self._create, self._rename, self._look)
        choice = self._random.randrange(len(MODEL) + len(kinds))
        if choice < len(kinds):
            kinds[choice]()
            return
        method, verb = list(MODEL)[choice - len(kinds)]
        expected, after = MODEL[method, verb][self.state]
        self._expect(method, self._path(self.name, verb), _BODIES.get(verb), expected)
        self.state = after or self.state

    def _create(self) -> None:
        body = self._shapes[0]
        self._expect("POST", f"/containers/create?name={self.name}", body, 201 if self.state == ABSENT else 409)
        self.state = CREATED if self.state == ABSENT else self.state

    def _rename(self) -> None:
        path = f"/containers/{self.name}/rename?name={self._names[1]}"
        self._expect("POST", path, None, 404 if self.state == ABSENT else 204)
        if self.state != ABSENT:
            self._names.reverse()

    def _look(self) -> None:
        status, body = self._ask("GET", f"/containers/{self.name}/json")
        seen = body["State"]["Status"] if status == 200 else ABSENT
        if seen != self.state:
            self.mistakes.append(f"{self.name} is {seen} and should be {self.state}")

    def _shared(self) -> None:
        name = self._random.choice(SHARED)
        body: Any
        if self._random.random() < 0.2:
            method, path, body = "POST", f"/containers/create?name={name}", self._random.choice(self._shapes)
        else:
            method, verb = self._random.choice(list(MODEL))
            path, body = self._path(name, verb), _BODIES.get(verb)
        status, answer = self._ask(method, path, body)
        if status not in _ALLOWED:
            self.mistakes.append(f"{method} {path}: {status} {answer}")

    def _expect(self, method: str, path: str, body: Any, expected: int) -> None:
        status, answer = self._ask(method, path, body)
        if status != expected:
            self.mistakes.append(f"{method} {path} ({self.state}): {status} {answer} instead of {expected}")

    def _path(self, name: str, verb: str) -> str:
        return f"/containers/{name}{'' if verb[:1] in ('', '?') else '/'}{verb}"
