"""The loader: what it offers, and that a broken plugin breaks only itself."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sampan.drivers.loader import Drivers, load, package_of
from sampan.drivers.none_resources import NoneResources
from sampan.errdefs import NotFound

GROUP = "sampan"
_numbers = itertools.count()
HEADER = "from sampan.drivers import hookimpl\n"
STORAGE = """
@hookimpl
def sampan_storage_driver():
    return {name!r}, lambda state_dir: None
"""

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution into a directory on the import path, laid out as pip does."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(entry for entry in sys.path if not _has_plugins(entry))])
    modules: list[str] = []

    def run(distribution: str, source: str, *, entry: str | None = None) -> str:
        module = f"plugin_for_test_{next(_numbers)}"
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(HEADER + source)
        metadata = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{entry or distribution} = {module}\n")
        importlib.invalidate_caches()
        return module

    yield run
    for module in modules:
        sys.modules.pop(module, None)


def _has_plugins(entry: str) -> bool:
    """Whether the development environment's own plugins may be found there."""
    return "site-packages" in entry


def ours(drivers: Drivers) -> list[str]:
    return [f"{plugin.kind} {plugin.name}" for plugin in drivers.provenance]


def test_core_offers_a_storage_and_a_resource_driver_without_any_plugin(install: Install) -> None:
    drivers = load("a group that nobody uses")
    assert list(drivers.resource) == ["none"]
    assert list(drivers.storage) == ["copy"]
    assert ours(drivers) == ["resource none", "storage copy"]
    assert drivers.provenance[0].distribution == "sampan-core"
    assert drivers.broken == ()


def test_an_installed_driver_is_offered_with_its_provenance(install: Install) -> None:
    module = install("sampan-tiny", STORAGE.format(name="tiny"))
    drivers = load()
    assert "tiny" in drivers.storage
    assert drivers.storage_factory("tiny") is drivers.storage["tiny"]
    found = next(plugin for plugin in drivers.provenance if plugin.name == "tiny")
    assert (found.kind, found.distribution, found.version, found.entry_point, found.error) == (
        "storage",
        "sampan-tiny",
        "1.2",
        module,
        None,
    )


def test_a_missing_driver_is_one_sentence_that_names_the_package(install: Install) -> None:
    with pytest.raises(NotFound) as error:
        load().storage_factory("overlayfs")
    assert str(error.value) == 'storage driver "overlayfs" is not installed: pip install sampan-overlayfs'
    with pytest.raises(NotFound, match=r"network driver .* pip install sampan-bridge-net"):
        load().network_factory("bridge_net")
    with pytest.raises(NotFound, match=r"resource driver .* pip install sampan-cgroups-v2"):
        load().resource_factory("cgroups_v2")


def test_a_driver_of_another_kind_is_not_found(install: Install) -> None:
    install("sampan-tiny", STORAGE.format(name="tiny"))
    with pytest.raises(NotFound):
        load().network_factory("tiny")


def test_a_package_is_named_after_its_driver() -> None:
    assert package_of("cgroups_v2") == "sampan-cgroups-v2"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("@hookimpl\ndef sampan_storage_drivr(): pass", "unknown hook 'sampan_storage_drivr'"),
        ("@hookimpl\ndef sampan_storage_driver(name): pass", "Argument(s) {'name'} are declared"),
        ("@hookimpl\ndef sampan_storage_driver(): raise OSError('disk')", "OSError: disk"),
        ("@hookimpl\ndef sampan_storage_driver(): return 'tiny'", "ValueError: "),
        ("@hookimpl\ndef sampan_storage_driver(): return '../x', print", "an invalid name: '../x'"),
        ("@hookimpl\ndef sampan_storage_driver(): return 'tiny', 5", "a factory that can't be called: 5"),
    ],
)
def test_a_broken_plugin_is_told_of_and_left_out(install: Install, source: str, error: str) -> None:
    install("sampan-broken", source)
    install("sampan-good", STORAGE.format(name="good"))
    drivers = load()
    assert "storage good" in ours(drivers)
    assert [(plugin.distribution, plugin.version) for plugin in drivers.broken] == [("sampan-broken", "1.2")]
    assert error in str(drivers.broken[0].error)
    assert "\n" not in str(drivers.broken[0].error)


def test_selecting_a_broken_driver_says_what_is_wrong_with_it(install: Install) -> None:
    install("sampan-broken", "raise RuntimeError('no luck')")
    with pytest.raises(NotFound) as error:
        load().storage_factory("broken")
    assert str(error.value) == 'storage driver "broken" can\'t be loaded: sampan-broken 1.2: RuntimeError: no luck'


def test_of_two_drivers_of_one_name_the_first_distribution_keeps_it(install: Install) -> None:
    install("sampan-b", STORAGE.format(name="tiny"))
    install("sampan-a", STORAGE.format(name="tiny"))
    drivers = load()
    kept = next(plugin for plugin in drivers.provenance if plugin.name == "tiny")
    assert kept.distribution == "sampan-a"
    assert [plugin.distribution for plugin in drivers.broken] == ["sampan-b"]
    assert str(drivers.broken[0].error) == 'ValueError: storage driver "tiny" is already offered by sampan-a 1.2'


def test_no_plugin_can_take_the_place_of_a_driver_of_cores_own(install: Install) -> None:
    install("aaa", "@hookimpl\ndef sampan_resource_driver(): return 'none', print")
    drivers = load()
    assert drivers.provenance[0].distribution == "sampan-core"
    assert drivers.resource_factory("none") is NoneResources
    assert "already offered by sampan-core" in str(drivers.broken[0].error)


def test_a_broken_plugin_is_let_in_with_none_of_its_hooks(install: Install) -> None:
    install("sampan-broken", "@hookimpl\ndef sampan_job_started(job): raise AssertionError\nraise OSError")
    drivers = load()
    drivers.hooks.hook.sampan_job_started(job={})


def test_hooks_of_a_plugin_without_drivers_are_called(install: Install) -> None:
    install("sampan-audit", "@hookimpl\ndef sampan_oci_spec(container_id, labels, spec): spec['seen'] = container_id")
    drivers = load()
    spec: dict[str, object] = {}
    drivers.hooks.hook.sampan_oci_spec(container_id="web", labels={}, spec=spec)
    assert spec == {"seen": "web"}
    assert "plugin sampan-audit" in ours(drivers)


def test_two_calls_share_nothing(install: Install) -> None:
    install("sampan-tiny", STORAGE.format(name="tiny"))
    assert load().hooks is not load().hooks
