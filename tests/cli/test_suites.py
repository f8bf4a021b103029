"""Suites that are not here, or not as they need them: told by `list` and `doctor`, refused by the others."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import pytest

from robopolicy.core.suites import suites, unmet


@pytest.fixture
def installed(monkeypatch) -> Callable[[str, str | None], None]:
    """Makes believe that a package has another version, or (None) is missing."""
    real = metadata.version
    changed: dict[str, str | None] = {}

    def version(name: str) -> str:
        if name not in changed:
            return real(name)
        if (made_up := changed[name]) is None:
            raise metadata.PackageNotFoundError(name)
        return made_up

    def change(name: str, to: str | None) -> None:
        changed[name] = to
        suites.cache_clear()

    monkeypatch.setattr(metadata, "version", version)
    yield change
    suites.cache_clear()


def test_what_is_wrong_with_a_requirement() -> None:
    assert unmet("numpy>=2.0") == ""
    assert unmet("numpy<1") == f"needs numpy<1, but numpy {metadata.version('numpy')} is installed"
    assert unmet("no-such-simulator==1.0") == "needs no-such-simulator==1.0, which is not installed"


def test_a_suite_that_is_not_installed(installed, cli, mistake) -> None:
    installed("metaworld", None)
    for words in (
        ["collect", "task=metaworld/reach-v3"],
        ["check", "metaworld/reach-v3"],
        ["quickstart", "task=metaworld/reach-v3"],
    ):
        said = mistake(*words)
        assert "suite 'metaworld' needs metaworld==3.0.0, which is not installed; run `" in said
        assert "-m pip install -c " in said
        assert said.endswith("metaworld==3.0.0`")
    listed = cli("list").out
    assert "metaworld   needs metaworld==3.0.0, which is not installed; run `" in listed
    assert "metaworld/reach-v3" not in listed
    assert "tabletop/reach" in listed


def test_a_wrong_mujoco_is_named(installed, mistake) -> None:
    installed("mujoco", "4.0.0")
    said = mistake("check", "dm_control/cartpole-balance")
    assert "needs mujoco>=3.8,<3.9, but mujoco 4.0.0 is installed" in said
    assert "'mujoco>=3.8,<3.9'`" in said


def test_suites_require_what_the_distribution_does() -> None:
    from packaging.requirements import Requirement

    ours = {r.name: r.specifier for r in map(Requirement, metadata.requires("robopolicy") or [])}
    for suite in suites()[0].values():
        for wanted in map(Requirement, suite.requires):
            assert ours[wanted.name] == wanted.specifier, (suite.name, wanted)


def test_an_environment_keeps_every_promise(cli) -> None:
    done = cli("check", "dm_control/cartpole-balance")
    assert (done.status, done.err) == (0, "")
    assert "keeps every promise" in done.out
