"""Which kernel a guest gets."""

from pathlib import Path

import pytest

from tools.guest import uml


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(uml.KERNEL, raising=False)
    return tmp_path / "sampan"


def make_kernel(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o755)
    return path


def test_a_kernel_of_another_recipe_is_none(cache: Path) -> None:
    make_kernel(cache / "linux.uml")
    make_kernel(cache / "linux-0123456789ab.uml")
    assert uml.find_kernel() is None


def test_the_kernel_that_was_built_is_found() -> None:
    built = make_kernel(uml.built_kernel())
    assert uml.find_kernel() == built


def test_the_kernel_that_the_environment_names_is_taken_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kernel(uml.built_kernel())
    named = make_kernel(cache / "mine")
    monkeypatch.setenv(uml.KERNEL, str(named))
    assert uml.find_kernel() == named
    named.chmod(0o644)
    assert uml.find_kernel() == uml.built_kernel()
