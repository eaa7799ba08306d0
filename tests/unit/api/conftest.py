from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.serving import Serving, serving


@pytest.fixture
async def api(session_dir: Path) -> AsyncIterator[Serving]:
    """The whole API on a unix socket, with the test's own handlers behind it."""
    async with serving(session_dir / "api.sock") as served:
        yield served
