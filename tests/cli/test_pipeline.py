from __future__ import annotations

import resource
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from robopolicy.cli import pipeline
from robopolicy.cli.pipeline import Run, Stage, begin, carry_out
from robopolicy.core.errors import UserError
from robopolicy.core.machine import Lock


def make_stages(calls: list[str], fail: set[str]) -> list[Stage]:
    def stage(name: str) -> Stage:
        def work(run: Run, report) -> dict:
            report(1, 2)
            if name in fail:
                raise KeyboardInterrupt
            calls.append(name)
            return {"folder": run.folder.name}

        return Stage(name=name, title=name, work=work, by_hand=lambda run: f"do {name}")

    return [stage(name) for name in ("collect", "train", "report")]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path) -> None:
    calls: list[str] = []
    console = Console(file=StringIO())
    settings = {"task": "a", "sizes": (1, 2)}
    stages = make_stages(calls, {"train"})
    first = begin(tmp_path, settings, stages)
    with pytest.raises(KeyboardInterrupt):
        carry_out(first, stages, console)
    assert calls == ["collect"]
    assert not first.facts("train")
    assert first.spent("train") > 0
    (first.folder / "stages" / "train.part.json").write_text('{"seconds": 1000}')

    stages = make_stages(calls, set())
    again = begin(tmp_path, settings, stages)
    assert again.folder == first.folder
    carry_out(again, stages, console)
    assert calls == ["collect", "train", "report"]
    assert again.facts("train")["seconds"] >= 1000
    assert 0 <= again.facts("report")["seconds"] < 1000


def test_a_stage_keeps_its_time_as_it_goes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "_KEEP_S", 0.0)
    seen = []

    def work(run: Run, report) -> dict:
        report(1, 2)
        seen.append(run.spent("collect"))
        return {}

    stage = Stage(name="collect", title="", work=work, by_hand=lambda run: "")
    run = begin(tmp_path, {}, [stage])
    carry_out(run, [stage], Console(file=StringIO()))
    assert seen[0] > 0
    assert run.spent("collect") == 0


def test_a_run_is_only_resumed_for_the_same_settings(tmp_path) -> None:
    stages = make_stages([], set())
    first = begin(tmp_path, {"seed": 0}, stages)
    other = begin(tmp_path, {"seed": 1}, stages)
    assert other.folder != first.folder
    assert begin(tmp_path, {"seed": 0}, stages).folder == first.folder
    carry_out(first, stages, Console(file=StringIO()))
    assert begin(tmp_path, {"seed": 0}, stages).folder not in (first.folder, other.folder)
    assert begin(tmp_path, {"seed": 1}, stages, fresh=True).folder != other.folder


def test_a_root_that_cannot_be_made_is_refused(tmp_path) -> None:
    (tmp_path / "nowhere").symlink_to("missing")
    for root in (tmp_path / "nowhere", Path("/proc/nothere")):
        with pytest.raises(UserError, match=f"{root} cannot be written"):
            begin(root, {}, [])


def test_a_full_disk_is_reported(tmp_path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(*_) -> dict:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        return {}

    stage = Stage(name="collect", title="", work=fill, by_hand=lambda run: "")
    run = begin(tmp_path, {}, [stage])
    try:
        with pytest.raises(UserError, match=f"{run.folder} cannot be written .*free some space"):
            carry_out(run, [stage], Console(file=StringIO()))
        assert not run.facts("collect")
        with pytest.raises(UserError, match="free some space"):
            begin(tmp_path / "new", {}, [stage])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_second_process_is_told_to_begin_afresh(tmp_path) -> None:
    stages = make_stages([], set())
    run = begin(tmp_path, {}, stages)
    with Lock(run.folder / "stages", doing="at work"), pytest.raises(UserError, match="fresh=true"):
        carry_out(run, stages, Console(file=StringIO()))
    assert not run.facts("collect")


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", "{}", '{"seconds": null}', "\0"])
def test_a_damaged_stage_is_named(tmp_path, damaged) -> None:
    stages = make_stages([], set())
    run = begin(tmp_path, {}, stages)
    (run.folder / "stages" / "collect.json").write_text(damaged)
    with pytest.raises(UserError, match=f"{run.folder}/stages/collect.json is damaged .*delete it"):
        begin(tmp_path, {}, stages)
    assert begin(tmp_path, {}, stages, fresh=True).folder != run.folder


def test_what_is_no_run_of_ours_is_left_alone(tmp_path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "zz").mkdir()
    (tmp_path / "zz" / "settings.json").write_text('{"half": ')
    assert begin(tmp_path, {}, make_stages([], set())).folder.parent == tmp_path
