"""Finds the installed drivers, and keeps a broken plugin from breaking anything but itself.

A plugin is an entry point of group `sampan`. Each is imported and tried in a separate plugin manager, and accepted
only if every hook in it is known and every driver it offers is well-formed and not yet offered. A rejected plugin is
reported by name, distribution and version, and stops the daemon only if its driver is selected.

pluggy's own `load_setuptools_entrypoints` is not used: it does not catch errors of the import, and silently skips a
second entry point of the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from types import MappingProxyType
from typing import Any, NoReturn

import pluggy

from sampan.drivers import hookspecs
from sampan.drivers.network import NetworkFactory
from sampan.drivers.resource import ResourceFactory
from sampan.drivers.storage import StorageFactory
from sampan.drivers.volume import VolumeFactory
from sampan.errdefs import NotFound

CORE = "sampan-core"
KINDS = ("storage", "network", "resource", "volume")
PLUGIN = "plugin"
_BUILT_IN = {"none": "sampan.drivers.none_resources", "copy": "sampan.storage.hooks"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Provenance:
    """Where a driver comes from.

    `kind` is `storage`, `network`, `resource` or `volume`; it is `plugin`, and `name` the entry point's, for a plugin
    that offers no driver or is too broken to tell. `error` is why it was rejected, `None` if it was not.
    """

    kind: str
    name: str
    distribution: str
    version: str
    entry_point: str
    error: str | None = None


@dataclass(frozen=True)
class Drivers:
    """The result of `load`: factories by name, their provenance, and the plugin manager for all other hooks."""

    storage: Mapping[str, StorageFactory]
    network: Mapping[str, NetworkFactory]
    resource: Mapping[str, ResourceFactory]
    volume: Mapping[str, VolumeFactory]
    provenance: tuple[Provenance, ...]
    broken: tuple[Provenance, ...]
    hooks: pluggy.PluginManager

    def storage_factory(self, name: str) -> StorageFactory:
        """The factory of storage driver `name`. Raises `NotFound` with what to install or what is wrong."""
        return self.storage.get(name) or self._miss("storage", name)

    def network_factory(self, name: str) -> NetworkFactory:
        """The factory of network driver `name`. Raises `NotFound` with what to install or what is wrong."""
        return self.network.get(name) or self._miss("network", name)

    def resource_factory(self, name: str) -> ResourceFactory:
        """The factory of resource driver `name`. Raises `NotFound` with what to install or what is wrong."""
        return self.resource.get(name) or self._miss("resource", name)

    def _miss(self, kind: str, name: str) -> NoReturn:
        package = package_of(name)
        for plugin in self.broken:
            if plugin.kind in (kind, PLUGIN) and (plugin.name == name or plugin.distribution == package):
                origin = f"{plugin.distribution} {plugin.version}"
                raise NotFound(f'{kind} driver "{name}" can\'t be loaded: {origin}: {plugin.error}')
        raise NotFound(f'{kind} driver "{name}" is not installed: pip install {package}')


def package_of(driver: str) -> str:
    """The distribution that provides `driver` according to the naming rule in the plugin author's guide."""
    return "sampan-" + driver.replace("_", "-")


def load(group: str = hookspecs.PROJECT) -> Drivers:
    """Load core's own drivers and those of every installed plugin of entry-point group `group`. Never raises."""
    loading = _Loading()
    for name, module in _BUILT_IN.items():
        origin = Provenance(PLUGIN, name, CORE, _version_of(CORE), module)
        loading.admit(origin, partial(import_module, module))
    for entry in sorted(entry_points(group=group), key=_order):
        loading.admit(_origin(entry), entry.load)
    return loading.answer()


class _Loading:
    """The drivers and plugins accepted so far."""

    def __init__(self) -> None:
        self._factories: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        self._owner: dict[tuple[str, str], Provenance] = {}
        self._good: list[Provenance] = []
        self._broken: list[Provenance] = []
        self._hooks = _manager()

    def admit(self, origin: Provenance, importing: Callable[[], Any]) -> None:
        """Accept one plugin, as a whole or not at all."""
        try:
            plugin = importing()
            offers = list(_offers(_trial(plugin)))
            self._refuse_duplicates(offers)
            self._hooks.register(plugin, name=f"{origin.distribution}:{origin.entry_point}")
        # A plugin is third-party code: whatever it raises, including by sys.exit(), is only its own failure.
        except (Exception, SystemExit) as error:
            self._broken.append(replace(origin, error=sentence(error)))
            return
        for kind, name, factory in offers:
            self._factories[kind][name] = factory
            self._owner[kind, name] = replace(origin, kind=kind, name=name)
            self._good.append(self._owner[kind, name])
        if not offers:
            self._good.append(origin)

    def answer(self) -> Drivers:
        """Everything accepted, and what was rejected."""
        mappings = {kind: MappingProxyType(found) for kind, found in self._factories.items()}
        return Drivers(**mappings, provenance=tuple(self._good), broken=tuple(self._broken), hooks=self._hooks)

    def _refuse_duplicates(self, offers: list[tuple[str, str, Any]]) -> None:
        for kind, name, _ in offers:
            if owner := self._owner.get((kind, name)):
                origin = f"{owner.distribution} {owner.version}"
                raise ValueError(f'{kind} driver "{name}" is already offered by {origin}')


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _trial(plugin: Any) -> pluggy.PluginManager:
    """A manager with only `plugin` registered; raises if one of its hooks is misspelt or has wrong arguments."""
    manager = _manager()
    manager.register(plugin)
    manager.check_pending()
    return manager


def _offers(trial: pluggy.PluginManager) -> Iterator[tuple[str, str, Any]]:
    for kind in KINDS:
        hook = f"sampan_{kind}_driver"
        for offer in getattr(trial.hook, hook)():
            name, factory = offer
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValueError(f"{hook} returned an invalid name: {name!r}")
            if not callable(factory):
                raise TypeError(f"{hook} returned a factory that can't be called: {factory!r}")
            yield kind, name, factory


def _origin(entry: EntryPoint) -> Provenance:
    distribution = entry.dist.name if entry.dist else "unknown"
    return Provenance(PLUGIN, entry.name, distribution, entry.dist.version if entry.dist else "", entry.value)


def _order(entry: EntryPoint) -> tuple[str, str, str]:
    """Sort key: which of two drivers with the same name is accepted must not depend on directory order."""
    return (entry.dist.name if entry.dist else "", entry.name, entry.value)


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""  # run from a source tree that is not installed


def sentence(error: BaseException) -> str:
    """The class and message of `error` on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
