"""The daemon's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.config import load_config
from sampan.errdefs import InvalidArgument


def test_a_data_root_that_conmon_would_cut_is_refused_in_one_sentence() -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid setting data-root: /a:b has a colon in it, .*conmon"):
        load_config(None, {"data_root": Path("/a:b")})
