from __future__ import annotations

import json
import re
from pathlib import Path

from robopolicy.cli import stages

TINY = (
    "task=tabletop/reach",
    "demonstrations={expert: 2, mixed: 1}",
    "steps=2",
    "test_episodes=2",
    "workers=1",
)


def test_quickstart_goes_on_where_it_stopped_and_leaves_everything(cli, monkeypatch) -> None:
    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "_evaluate", interrupted)
        assert cli("quickstart", *TINY).status == 130
    (run,) = Path("runs/quickstart").iterdir()
    weights = run / "checkpoints" / "last" / "model.safetensors"
    trained = weights.stat().st_mtime_ns

    done = cli("quickstart", *TINY)
    assert done.status == 0
    assert "done before" in done.out
    assert weights.stat().st_mtime_ns == trained
    latest = Path("runs/quickstart/latest")
    assert latest.resolve() == run.resolve()
    (found,) = json.loads((latest / "eval" / "results.json").read_text())["policies"].values()
    assert found["episodes"] == 2
    assert found["interval"][0] <= found["success"] <= found["interval"][1]
    assert (latest / "episodes.rrd").stat().st_size > 1000
    page = (latest / "report.html").read_text()
    for command in ("robopolicy collect", "robopolicy train", "robopolicy eval", "robopolicy view"):
        assert command in page, command

    assert page.count('class="strip"') == 2
    by_hand = [words.split() for words in re.findall(r"robopolicy (view [^&<]+)", page)]
    assert len(by_hand) == 2
    made = [Path(words[-1].removeprefix("output=")) for words in by_hand]
    assert made == [run / "episodes.rrd", run / "report.html"]
    for words, path in zip(by_hand, made, strict=True):
        path.unlink()
        assert cli(*words).status == 0
        assert path.stat().st_size > 1000
    again = made[1].read_text()
    for section in ("Success", "Learning", "Episodes"):
        assert f"<h2>{section}" in again
    assert cli("view", str(latest / "data"), "episodes=[1]", "output=data.rrd").status == 0
    assert Path("data.rrd").stat().st_size > 1000
