"""What a result was made with changes when the code does, a plug-in's included, whoever commits what."""

from __future__ import annotations

from pathlib import Path

import pytest

from robopolicy.core import provenance


@pytest.fixture
def fresh():
    """Looks anew at each call, and leaves nothing of it behind."""

    def look() -> str:
        for cached in (provenance.code, provenance._plugins):
            cached.cache_clear()
        return provenance.code()

    yield look
    look()


def test_every_edit_of_a_plug_in_is_another_code(fresh, tmp_path: Path, monkeypatch) -> None:
    package, info = tmp_path / "reaching", tmp_path / "reaching_suite-2.5.dist-info"
    for folder in (package, info):
        folder.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reaching-suite\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text("[robopolicy.suites]\nreaching = reaching.tasks:suite\n")
    codes = [fresh()]
    assert "reaching-suite" not in provenance.versions()
    monkeypatch.syspath_prepend(tmp_path)
    for name, content in (("tasks.py", "NEAR = 0.02"), ("tasks.py", "NEAR = 0.2"), ("arm.xml", "<mujoco/>")):
        (package / name).write_text(content)
        codes.append(fresh())
    (package / "notes.txt").write_text("decides nothing")
    assert fresh() == codes[-1]
    assert len(set(codes)) == len(codes)
    assert provenance.versions()["reaching-suite"] == "2.5"
