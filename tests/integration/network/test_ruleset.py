"""The rules as text, parsed by nft itself."""

from __future__ import annotations

import subprocess

import pytest

from sampan_bridge_net.ruleset import skeleton

pytestmark = pytest.mark.root
CHECK = "mount --bind /dev/null /etc/protocols && mount --bind /dev/null /etc/services && exec nft --check --file -"


@pytest.mark.parametrize("gate", [None, "gate0"])
def test_they_are_read_where_no_names_of_protocols_are_known(gate: str | None) -> None:
    rules = skeleton("sampan_test", frozenset({4, 6}), gate)
    words = ["unshare", "--mount", "--net", "sh", "-c", CHECK]
    done = subprocess.run(words, input=rules, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
