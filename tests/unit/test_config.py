"""sampand's configuration: file, flags, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sampan.bootstrap.drivers import apply_published_ports
from sampan.bootstrap.settings import gc_policy, network_defaults
from sampan.config import PublishedPorts, load_config
from sampan.daemon.images.gc import Watermarks
from sampan.drivers import NetworkSettings
from sampan.errdefs import InvalidArgument, Unsupported
from sampan.sampand import main
from sampan.testing.memory_network import MemoryNetwork


def write(tmp_path: Path, settings: Any) -> Path:
    file = tmp_path / "daemon.json"
    file.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return file


def test_file_and_flags_together_make_the_configuration(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"data-root": "/x", "dns": ["10.0.0.1"], "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}]},
    )
    config = load_config(file, {"exec_root": Path("/y"), "bip": "10.9.0.1/16"})
    assert (config.data_root, config.exec_root) == (Path("/x"), Path("/y"))
    assert config.dns == ("10.0.0.1",)
    assert str(config.bip) == "10.9.0.1/16"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"bridge": "br0"}, 'invalid setting bridge: "br0" can\'t be the default bridge: sampand makes its own'),
        ({"bridge": "none", "bip": "10.9.0.1/16"}, "You specified -b & --bip, mutually exclusive options."),
    ],
)
def test_a_default_bridge_is_sampands_own_or_none(settings: dict[str, str], complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(complaint)):
        load_config(None, settings)


def test_without_a_default_bridge_networks_are_told_so() -> None:
    assert not network_defaults(load_config(None, {"bridge": "none"})).has_bridge
    assert network_defaults(load_config(None, {"bridge": ""})).has_bridge
    assert network_defaults(load_config(None, {})).has_bridge


def test_a_setting_in_both_places_is_refused_in_dockers_words(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="both as a flag and in the configuration file: data-root"):
        load_config(write(tmp_path, {"data-root": "/x"}), {"data_root": Path("/y")})


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="don't match any configuration option: colour"):
        load_config(write(tmp_path, {"colour": "red"}), {})


@pytest.mark.parametrize("text", ["{", "[]", '{"workers": "many"}', '{"log-level": "loud"}'])
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidArgument):
        load_config(write(tmp_path, text), {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="unable to read the configuration file"):
        load_config(tmp_path / "none.json", {})


def test_tcp_without_mutual_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="a TCP listener needs mutual TLS"):
        load_config(write(tmp_path, {"hosts": ["tcp://127.0.0.1:2375"]}), {})


def test_two_data_roots_are_two_instances(tmp_path: Path) -> None:
    one, two = (load_config(write(tmp_path, {"data-root": path}), {}) for path in ("/one", "/two"))
    assert one.instance != two.instance
    assert len(one.instance) == 8


@pytest.mark.parametrize(
    ("given", "parent"), [("/a/b", "/a/b"), ("a", "/a"), ("/u.slice/x.service/", "/u.slice/x.service")]
)
def test_the_cgroup_parent_is_a_path_from_the_root(tmp_path: Path, given: str, parent: str) -> None:
    assert load_config(write(tmp_path, {"cgroup-parent": given}), {}).cgroup_parent == parent


@pytest.mark.parametrize("given", ["", "/", "/a/../..", "machine.slice"])
def test_what_can_be_no_cgroup_parent_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(InvalidArgument, match=r"cgroup.parent"):
        load_config(write(tmp_path, {"cgroup-parent": given}), {})


def test_validate_says_yes_or_what_is_missing(tmp_path: Path) -> None:
    file = write(tmp_path, {})
    good = CliRunner().invoke(main, ["--config-file", str(file), "--validate"])
    assert (good.exit_code, good.output) == (0, "configuration OK\n")
    bad = CliRunner().invoke(main, ["--config-file", str(file), "--validate", "--storage-driver", "zfs"])
    assert bad.exit_code == 1
    assert 'storage driver "zfs" is not installed: pip install sampan-zfs' in bad.output


@pytest.mark.parametrize(
    ("mirror", "message"),
    [
        ("ftp://mirror.test", "unsupported scheme"),
        ("mirror.test", "unsupported scheme"),
        ("https://ann:secret@mirror.test", "username/password not allowed in URI"),
        ("https://mirror.test/path", "path, query, or fragment"),
        ("https://mirror.test?x", "path, query, or fragment"),
    ],
)
def test_a_bad_mirror_is_refused_in_dockers_words(tmp_path: Path, mirror: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message) as refused:
        load_config(write(tmp_path, {"registry-mirrors": [mirror]}), {})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("high", "low", "marks"),
    [
        ("85%", None, Watermarks(high=85, low=76, is_share=True)),
        ("85%", "60%", Watermarks(high=85, low=60, is_share=True)),
        ("50GB", "500m", Watermarks(high=50 << 30, low=500 << 20, is_share=False)),
        ("1000", None, Watermarks(high=1000, low=900, is_share=False)),
    ],
)
def test_watermarks_are_shares_of_the_disk_or_sizes(
    tmp_path: Path, high: str, low: str | None, marks: Watermarks
) -> None:
    file = write(tmp_path, {"gc-high": high, **({"gc-low": low} if low else {})})
    assert gc_policy(load_config(file, {})).watermarks == marks


def test_without_settings_no_image_goes_by_itself(tmp_path: Path) -> None:
    assert not gc_policy(load_config(write(tmp_path, {}), {})).is_on
    assert gc_policy(load_config(write(tmp_path, {"gc-unused-days": 30}), {})).is_on


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gc-high": "101%"}, 'invalid setting gc-high: "101%" is neither a share'),
        ({"gc-high": "much"}, 'invalid setting gc-high: "much" is neither a share'),
        ({"gc-low": "5%"}, "invalid setting: gc-low needs gc-high"),
        ({"gc-high": "5%", "gc-low": "1g"}, "invalid setting: gc-low must be below gc-high, and both must be shares"),
        ({"gc-high": "5%", "gc-low": "5%"}, "invalid setting: gc-low must be below gc-high, and both must be shares"),
        ({"gc-unused-days": 0}, "invalid setting gc-unused-days"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        load_config(write(tmp_path, settings), {})
    assert str(refused.value).startswith(message)


def test_a_mirror_needs_no_slash_at_its_end(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, {"registry-mirrors": ["https://mirror.test/"]}), {})
    assert config.registry_mirrors == ("https://mirror.test",)


def test_published_ports_are_open_or_the_host_firewalls(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, {}), {}).published_ports is PublishedPorts.OPEN
    shut = load_config(write(tmp_path, {"published-ports": "host-firewall"}), {})
    assert shut.published_ports is PublishedPorts.HOST_FIREWALL
    with pytest.raises(InvalidArgument, match="published-ports"):
        load_config(write(tmp_path, {"published-ports": "shut"}), {})


def test_a_driver_without_host_firewall_mode_is_refused_where_that_is_set(tmp_path: Path) -> None:
    driver = MemoryNetwork(NetworkSettings(tmp_path, "test"))
    apply_published_ports(driver, load_config(write(tmp_path, {}), {}))
    with pytest.raises(Unsupported, match="can't subject published ports to the host's firewall"):
        apply_published_ports(driver, load_config(write(tmp_path, {"published-ports": "host-firewall"}), {}))
