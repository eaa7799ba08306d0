"""The bridge driver on the real kernel: with many open files and thousands of ports."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sampan.errdefs import SystemFailure
from sampan.network.kernel import SandboxKernel
from sampan.syscalls.nftables import Nft
from sampan.testing.network_suite import make_endpoint, make_network
from sampan_bridge_net.elements import Change, ElementSocket
from tests.support.network_stage import HOST_V4, OUTSIDE_V4, SECOND, Stage, run, tcp

pytestmark = pytest.mark.root

FD_SETSIZE = 1024


@pytest.fixture
def many_files() -> Iterator[None]:
    """More open files than select(2) can handle."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    with ExitStack() as undo:
        undo.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        for _ in range(FD_SETSIZE):
            undo.callback(os.close, os.open("/dev/null", os.O_RDONLY))
        yield


def test_rules_are_made_by_a_daemon_with_many_files_open_too(stage: Stage, many_files: None) -> None:
    network = stage.network()
    endpoint = make_endpoint(network, 2)
    container = stage.container(endpoint, tcp(8080, 80))
    stage.serve(container, 80)
    assert stage.outside.ask(HOST_V4, 8080) == OUTSIDE_V4
    sockets = SandboxKernel().listen_for_names(container.fd, 40053)
    sockets.close()
    stage.driver.unpublish(endpoint)
    assert stage.outside.is_kept_from(HOST_V4, 8080)


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of set and map elements changed by each transaction."""
    changed: list[int] = []
    apply = ElementSocket.apply

    def note(connection: ElementSocket, changes: list[Change]) -> None:
        changed.append(sum(len(change.elements) for change in changes))
        apply(connection, changes)

    monkeypatch.setattr(ElementSocket, "apply", note)
    return changed


def test_publishing_beside_5000_ports_takes_no_more_than_alone(
    stage: Stage, transactions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = stage.network()
    crowd, probe = make_endpoint(network, 2), make_endpoint(network, 3)
    stage.container(crowd)
    stage.container(probe)
    stage.driver.publish(crowd, tuple(tcp(port, 80) for port in range(20000, 25000)))
    transactions.clear()
    monkeypatch.setattr(Nft, "query", _no_listing)
    stage.driver.publish(probe, (tcp(8080, 80),))
    stage.driver.unpublish(probe)
    stage.network(make_network(SECOND))
    assert transactions == [1, 1]
    monkeypatch.undo()
    assert "20000" in run("nft", "list", "map", "inet", "sampan_test", "published4_any")


def _no_listing(nft: Nft, command: str) -> list[Any]:
    raise AssertionError(f"{command} takes the longer the more ports there are")


def test_what_thousands_of_ports_stir_up_is_no_disturbance(stage: Stage) -> None:
    endpoint = make_endpoint(stage.network(), 2)
    stage.container(endpoint)
    stage.driver.watch()
    stage.driver.publish(endpoint, tuple(tcp(port, 80) for port in range(20000, 25000)))
    stage.driver.unpublish(endpoint)
    watch = stage.driver._watch
    assert watch is not None and not watch.saw_removal()


def test_1000_ports_are_published_and_unpublished_in_one_transaction(stage: Stage, transactions: list[int]) -> None:
    network = stage.network()
    endpoint = make_endpoint(network, 2)
    container = stage.container(endpoint)
    transactions.clear()
    stage.driver.publish(endpoint, tuple(tcp(port, 80) for port in range(20000, 21000)))
    assert transactions == [1000]
    stage.serve(container, 80)
    assert stage.outside.ask(HOST_V4, 20999) == OUTSIDE_V4
    stage.driver.unpublish(endpoint)
    assert transactions == [1000, 1000]
    assert stage.outside.is_kept_from(HOST_V4, 20999)


def test_more_ports_than_one_message_holds_are_published_all_or_none(stage: Stage) -> None:
    endpoint = make_endpoint(stage.network(), 2)
    ports = tuple(tcp(port, 80) for port in range(1024, 61024))
    of_somebody_else = ("element", "inet", "sampan_test", "published4_any", "{ 6 . 61023 : 192.0.2.1 . 1 }")
    run("nft", "add", *of_somebody_else)
    with pytest.raises(SystemFailure, match="File exists"):
        stage.driver.publish(endpoint, ports)
    assert published() == 1
    run("nft", "delete", *of_somebody_else)
    stage.driver.publish(endpoint, ports)
    assert published() == len(ports)
    stage.driver.unpublish(endpoint)
    assert published() == 0


def published() -> int:
    items = json.loads(run("nft", "-j", "list", "map", "inet", "sampan_test", "published4_any"))["nftables"]
    return len(items[1]["map"].get("elem", []))
