"""Published ports alongside stock ufw and firewalld, where installed: set up and reloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sampan.testing.network_suite import make_endpoint, make_network
from tests.support.containers import eventually
from tests.support.kernel import need_ipv6_rules, need_packet_copies, need_ufw_matches
from tests.support.network_stage import (
    HOST_V4,
    HOST_V6,
    OUTSIDE_V4,
    OUTSIDE_V6,
    Place,
    Stage,
    dual_stack,
    run,
    tcp,
    with_ipv6,
)
from tests.support.processes import end, spawn

pytestmark = pytest.mark.root

BUS = """
<busconfig>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


class Ufw:
    """ufw in the stage's network, with its own configuration in place of the machine's."""

    def __init__(self, directory: Path) -> None:
        self._etc = directory / "ufw"
        shutil.copytree("/etc/ufw", self._etc)
        self("--force", "reset")

    def __call__(self, *words: str) -> None:
        mounted = 'mount --bind "$1" /etc/ufw && shift && exec ufw "$@"'
        run("unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, "sh", str(self._etc), *words)


class Firewalld:
    """firewalld in the stage's network, with its own D-Bus and configuration."""

    def __init__(self, directory: Path, undo: ExitStack) -> None:
        bus_socket, bus_file, log = directory / "bus", directory / "bus.conf", directory / "log"
        bus_file.write_text(BUS.format(socket=bus_socket))
        self._env = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus_socket}"}
        bus = ["dbus-daemon", f"--config-file={bus_file}", "--nofork", "--nopidfile"]
        undo.callback(end, spawn(bus, log, self._env))
        assert eventually(bus_socket.exists), log.read_text()
        daemon = ["firewalld", "--nofork", "--nopid", f"--system-config={directory}", f"--log-file={log}"]
        undo.callback(end, spawn(daemon, log, self._env))
        assert eventually(self._runs, deadline_s=60), log.read_text()

    def __call__(self, *words: str) -> None:
        subprocess.run(["firewall-cmd", *words], check=True, capture_output=True, env=self._env)

    def _runs(self) -> bool:
        asked = subprocess.run(["firewall-cmd", "--state"], check=False, capture_output=True, env=self._env)
        return asked.returncode == 0


@pytest.fixture
def ufw(stage: Stage, tmp_path: Path) -> Ufw:
    if shutil.which("ufw") is None:
        pytest.skip("ufw is not installed")
    need_ufw_matches()
    return Ufw(tmp_path)


@pytest.fixture
def firewalld(stage: Stage, tmp_path: Path) -> Iterator[Firewalld]:
    if shutil.which("firewalld") is None or shutil.which("dbus-daemon") is None:
        pytest.skip("firewalld is not installed, or dbus-daemon is not")
    directory = tmp_path / "firewalld"
    directory.mkdir()
    with ExitStack() as undo:
        yield Firewalld(directory, undo)


def published(stage: Stage) -> Place:
    """A container whose port 80 is the host's 8080; the neighbour serves on port 80, too."""
    network = stage.network(dual_stack(make_network()))
    place = stage.container(with_ipv6(make_endpoint(network, 2)), tcp(8080, 80), tcp(8080, 80, "::"))
    for server in (place, stage.outside):
        stage.serve(server, 80, bind="::")
    return place


def is_open(stage: Stage) -> bool:
    return all(stage.outside.reaches(host, 8080) for host in (HOST_V4, HOST_V6))


def is_closed(stage: Stage) -> bool:
    return all(stage.outside.is_kept_from(host, 8080) for host in (HOST_V4, HOST_V6))


def gets_out(place: Place) -> bool:
    return all(place.reaches(outside, 80) for outside in (OUTSIDE_V4, OUTSIDE_V6))


def test_ufw_lets_containers_through_once_it_is_told_to(stage: Stage, ufw: Ufw) -> None:
    stage.driver.watch()
    place = published(stage)
    ufw("--force", "enable")
    assert is_closed(stage)
    ufw("route", "allow", "in", "on", "spn-+")
    ufw("route", "allow", "out", "on", "spn-+")
    assert is_open(stage) and gets_out(place)
    ufw("reload")
    assert is_open(stage) and gets_out(place)
    assert not stage.driver.has_drifted()


def test_ufw_judges_published_ports_that_are_left_to_it(stage: Stage, ufw: Ufw) -> None:
    need_packet_copies()
    stage.driver.enforce_host_firewall()
    published(stage)
    ufw("route", "allow", "out", "on", "spn-+")
    ufw("--force", "enable")
    assert is_closed(stage)
    for clients in ("203.0.113.0/24", "2001:db8::/64"):
        ufw("allow", "from", clients, "to", "any", "port", "8080", "proto", "tcp")
    assert is_open(stage)
    ufw("reload")
    assert is_open(stage)


def test_firewalld_lets_published_ports_through_and_the_way_out_once_it_is_told_to(
    stage: Stage, firewalld: Firewalld
) -> None:
    stage.driver.watch()
    place = published(stage)
    assert is_open(stage)
    assert place.is_kept_from(OUTSIDE_V4, 80) and place.is_kept_from(OUTSIDE_V6, 80)
    firewalld("--permanent", "--zone=trusted", "--add-interface=spn-+")
    for reload in ("--reload", "--complete-reload"):
        firewalld(reload)
        assert is_open(stage) and gets_out(place)
    assert not stage.driver.has_drifted()


def test_firewalld_judges_published_ports_that_are_left_to_it(stage: Stage, firewalld: Firewalld) -> None:
    need_packet_copies()
    need_ipv6_rules()
    stage.driver.enforce_host_firewall()
    published(stage)
    assert is_closed(stage)
    firewalld("--permanent", "--add-port=8080/tcp")
    firewalld("--reload")
    assert is_open(stage)
