"""The API conforms to our OpenAPI document, whatever the request: schemathesis against the whole daemon in memory.

No 500, no undocumented status or content type, no body that violates its schema, no invalid value accepted. The
cases are the same in each run; `make test-api-fuzz` generates 10,000.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.daemon.in_process import InProcess
from tests.support.front import tcp_front

CONFIG = Path(__file__).parent / "fuzz/schemathesis.toml"


@pytest.fixture
def url(house: InProcess) -> Iterator[str]:
    """The in-memory daemon on a loopback port."""
    front = tcp_front(house.socket)
    yield f"http://127.0.0.1:{house.run(front.__aenter__())}"
    house.run(front.__aexit__(None, None, None))


@pytest.mark.timeout(3600)
def test_the_api_is_as_its_document_says(house: InProcess, url: str, pytestconfig: pytest.Config) -> None:
    wanted = pytestconfig.getoption("--fuzz-cases")
    served = set(_served(house))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG),
            *("run", f"{url}/openapi.json", "--no-color", "--max-examples", str(max(10, wanted // len(served)))),
            *(word for id in served for word in ("--include-operation-id", id)),
        ],
        env={**os.environ, "PYTHONPATH": str(pytestconfig.rootpath), "SAMPAN_FUZZ_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = re.findall(r"(\d+) generated", done.stdout)
    assert int(made) >= wanted, done.stdout


def _served(house: InProcess) -> Iterator[str]:
    """The operations that are not always refused; test_routes_other.py covers those that are."""
    paths: dict[str, dict[str, Any]] = house.call("GET", "/openapi.json").body["paths"]
    for operation in [one for methods in paths.values() for one in methods.values()]:
        if min(operation["responses"]) < "400":
            yield operation["operationId"]
