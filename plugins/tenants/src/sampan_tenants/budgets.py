"""The budgets that an administrator has written down."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.errdefs import Forbidden, InvalidArgument

FILE = "tenants.toml"
_LABEL = "tenant"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Budgets:
    """`tenants` maps each tenant's name to its budget: cgroup v2 control files and the values written to them."""

    label: str = _LABEL
    tenants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def tenant_of(self, labels: Mapping[str, str]) -> str | None:
        """The tenant of a container with these labels. Raises `Forbidden` for a tenant without a budget."""
        name = labels.get(self.label)
        if name is not None and name not in self.tenants:
            raise Forbidden(f"tenant {name!r} has no budget in {FILE}")
        return name


def read_budgets(path: Path) -> Budgets:
    """Read the budgets; a missing file means no tenants. Raises `InvalidArgument` if the file is malformed."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Budgets()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} can't be read: {error}") from error
    label, tenants = document.get("label", _LABEL), document.get("tenants", {})
    if not isinstance(label, str) or not isinstance(tenants, dict) or document.keys() - {"label", "tenants"}:
        raise InvalidArgument(f"{path} may only contain a string `label` and tables [tenants.NAME]")
    return Budgets(label, {name: _checked(path, name, budget) for name, budget in tenants.items()})


def _checked(path: Path, name: str, budget: Any) -> Mapping[str, str]:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{path}: {name!r} can't be a tenant's name: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    if not isinstance(budget, dict) or not all(isinstance(value, str) for value in budget.values()):
        raise InvalidArgument(f'{path}: the budget of {name} must consist of lines such as "memory.max" = "4G"')
    return budget
