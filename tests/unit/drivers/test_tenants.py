"""Budgets as an administrator writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.errdefs import Forbidden, InvalidArgument
from sampan_tenants.budgets import Budgets, read_budgets


def test_no_file_is_no_tenant(tmp_path: Path) -> None:
    assert read_budgets(tmp_path / "tenants.toml") == Budgets()


def test_budgets_are_control_files_by_tenant(tmp_path: Path) -> None:
    file = tmp_path / "tenants.toml"
    file.write_text('label = "team"\n[tenants.a]\n"memory.max" = "4G"\n[tenants.b]\n')
    budgets = read_budgets(file)
    assert budgets == Budgets("team", {"a": {"memory.max": "4G"}, "b": {}})
    assert budgets.tenant_of({"team": "a", "tenant": "b"}) == "a"
    assert budgets.tenant_of({"tenant": "b"}) is None


def test_a_tenant_without_a_budget_is_refused() -> None:
    with pytest.raises(Forbidden, match="tenant 'c' has no budget"):
        Budgets().tenant_of({"tenant": "c"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tenants", "can't be read"),
        ("label = 1", "may only contain"),
        ("tenants = 1", "may only contain"),
        ('labels = "x"', "may only contain"),
        ('[tenants."../x"]', "can't be a tenant's name"),
        ("[tenants.a]\nx = 1", "must consist of lines such as"),
        ("tenants.a = 1", "must consist of lines such as"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "tenants.toml").write_text(text)
    with pytest.raises(InvalidArgument, match=words):
        read_budgets(tmp_path / "tenants.toml")
