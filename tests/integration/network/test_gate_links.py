"""The gate's links alone: unlike its rules, they come and go on kernels without policy routing for IPv6 too."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from sampan.testing.network_suite import host_namespace
from sampan_bridge_net.links import Pair, delete_pair, put_pair
from tests.support.network_stage import links

pytestmark = pytest.mark.root

PAIR = Pair("spgatest", "spgbtest", "sampan test gate", "02:73:70:67:00:01", IPv4Interface("127.83.80.71/32"), 4711)


def test_the_links_come_and_go() -> None:
    with host_namespace():
        before = links()
        for _ in range(2):
            put_pair(PAIR, lambda: None)
            assert links() == before | {PAIR.entry, PAIR.exit}
        for _ in range(2):
            delete_pair(PAIR)
            assert links() == before
