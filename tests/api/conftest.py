from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.serving import Serving, serving


@pytest.fixture
async def api(session_dir: Path) -> AsyncIterator[Serving]:
    """The whole API on a unix socket, backed by the test's own handlers."""
    async with serving(session_dir / "api.sock") as served:
        yield served
