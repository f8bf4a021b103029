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


def test_a_plug_in_that_is_no_suite_does_not_take_the_others_with_it(
    cli, mistake, tmp_path, monkeypatch
) -> None:
    info = tmp_path / "wrong-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[robopolicy.suites]\nnone = wrong:NONE\nother = wrong:named\nlisted = wrong.listed:suite\n"
    )
    (tmp_path / "wrong").mkdir()
    for file, suite in (
        ("__init__", "NONE, named = {}, Suite(name='mine', tasks={}, make_env=dict)"),
        ("listed", "suite = Suite(name='listed', tasks=['reach'], make_env=dict)"),
    ):
        code = f"from robopolicy.core.suites import Suite\n{suite}\n"
        (tmp_path / "wrong" / f"{file}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    suites.cache_clear()
    try:
        listed = cli("list").out
        assert "tabletop/reach" in listed
        for name, said in (
            ("none", "wrong:NONE is a dict; a robopolicy.core.suites.Suite is meant"),
            ("other", "wrong:named is named 'mine', its entry point 'other'; give both one name"),
            ("listed", "tasks of suite 'listed' is ['reach']; a mapping is meant"),
        ):
            assert said in listed
            assert said in mistake("collect", f"task={name}/reach")
    finally:
        suites.cache_clear()


def test_a_suite_without_demonstrators(mistake) -> None:
    for command in ("collect", "quickstart"):
        said = mistake(command, "task=dm_control/cartpole-balance")
        assert "has no scripted expert" in said
        assert "'tabletop'" in said


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
