"""One HTML page about one evaluation, whole in itself: no script, no font and no image from elsewhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from robopolicy.evaluate.blocks import write_whole
from robopolicy.evaluate.film import Film

BLUE = "#2f6690"
COLOURS = (BLUE, "#e08e45", "#2e8b57", "#b5483a", "#7b5ea7", "#5d6b7a")


@dataclass(frozen=True, kw_only=True)
class StageLine:
    """One stage of a run.

    Args:
        name: as a person calls it.
        seconds: it took.
        command: that does it by hand.
    """

    name: str
    seconds: float
    command: str


def write_report(
    path: Path | str,
    *,
    title: str,
    results: Mapping[str, Any],
    curves: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    films: Sequence[Film] = (),
    stages: Sequence[StageLine] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: of the page.
        title: of the page.
        results: what `Results.to_plain` or `results.read_results` gives.
        curves: name of a training run to the lines of its log.
        films: of single episodes.
        stages: how long each took, and how to do it by hand.
        notes: sentences a reader should know.
    """
    path = Path(path)
    if any(film.drawn for film in films):
        notes = [*notes, "This machine cannot render, so the films are drawn from the state."]
    sections = [
        _success(results),
        _comparisons(results),
        _curves(curves or {}),
        _films(films),
        _stages(stages),
        _how(results, notes),
    ]
    page = _PAGE.substitute(title=escape(title), lead=_lead(results), body="\n".join(filter(None, sections)))
    write_whole(path, page)
    return path


def _lead(results: Mapping[str, Any]) -> str:
    protocol = results["protocol"]
    split = {"dev": "development"}.get(protocol["split"], str(protocol["split"]))
    shared = " and met by every policy" if len(results["policies"]) > 1 else ""
    return (
        f"<b>{escape(str(protocol['task']))}</b> &middot; {protocol['episodes']} {escape(split)} episodes, "
        f"each from an initial state fixed by its seed{shared}"
    )


def _success(results: Mapping[str, Any]) -> str:
    rows = []
    for name, policy in results["policies"].items():
        low, high = policy["interval"]
        latency = policy["latency_ms"]
        runs = results["runs"][name]
        rates = [run["success"] for run in runs]
        records = [record for run in runs for record in run["episodes"]]
        solved = [record["length"] for record in records if record["success"]]
        rows.append(
            f"<tr><th>{escape(name)}{_each([f'{rate:.0%}' for rate in rates])}</th>"
            f'<td class="big">{policy["success"]:.0%}</td>'
            f"<td>{_bar(policy['success'], low, high)}</td>"
            f"<td>{low:.0%} to {high:.0%}</td>"
            f"<td>{sum(record['success'] for record in records)} of {policy['episodes']}</td>"
            f"<td>{f'{np.median(solved):.0f} steps' if solved else '&ndash;'}</td>"
            f"<td>{latency['p50']:.1f} / {latency['p95']:.1f} / {latency['p99']:.1f} ms</td></tr>"
        )
    return (
        "<section><h2>Success</h2><table><tr><th>policy</th><th>success</th><th></th><th>95 % interval</th>"
        "<th>episodes</th><th>median time to success</th><th>latency p50 / p95 / p99</th></tr>"
        + "".join(rows)
        + "</table></section>"
    )


def _each(values: Sequence[str]) -> str:
    """What was found for each training seed, where there are several."""
    return f"<br><small>training seeds: {', '.join(values)}</small>" if len(values) > 1 else ""


def _bar(value: float, low: float, high: float) -> str:
    """A rate on a line from 0 to 100 %, with its interval."""
    x = [8 + 184 * v for v in (value, low, high)]
    return (
        f'<svg width="200" height="22" role="img" aria-label="{value:.0%}, {low:.0%} to {high:.0%}">'
        '<g stroke-width="6" stroke-linecap="round"><line x1="8" y1="11" x2="192" y2="11" stroke="#e4e8ed"/>'
        f'<line x1="{x[1]:.1f}" y1="11" x2="{x[2]:.1f}" y2="11" stroke="#9dc0d8"/></g>'
        f'<circle cx="{x[0]:.1f}" cy="11" r="5.5" fill="{BLUE}"/></svg>'
    )


def _comparisons(results: Mapping[str, Any]) -> str:
    rows = []
    for found in results["comparisons"]:
        low, high = found["interval"]
        p = found["p_holm"]
        rows.append(
            f"<tr><th>{escape(found['a'])} &minus; {escape(found['b'])}"
            f"{_each([f'{difference:+.0%}' for difference in found['per_seed']])}</th>"
            f'<td class="big">{found["difference"]:+.0%}</td><td>{low:+.0%} to {high:+.0%}</td>'
            f"<td>{found['only_a']} : {found['only_b']}</td>"
            f"<td>{'&ndash;' if p is None else f'{p:.3g}'}</td></tr>"
        )
    if not rows:
        return ""
    return (
        "<section><h2>Comparison on the same episodes</h2><table><tr><th></th><th>difference</th>"
        "<th>95 % interval</th><th>solved by one only</th><th>p (exact McNemar, Holm)</th></tr>"
        + "".join(rows)
        + "</table></section>"
    )


def _curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Training and held-out losses of each run, and nothing where there are none."""
    drawn: dict[str, list[tuple[str, np.ndarray]]] = {}
    for run, lines in curves.items():
        for name in dict.fromkeys(key for line in lines for key in line):
            quantity = name.removeprefix("validation/")
            kind, _, group = quantity.partition("/")
            if kind != "loss":
                continue
            points = np.array([(line["step"], line[name]) for line in lines if _number(line.get(name))])
            if len(points):
                label = "training" if name == quantity else "held out"
                drawn.setdefault(group, []).append((f"{run}, {label}" if len(curves) > 1 else label, points))
    if not drawn:
        return ""
    figure = Figure(figsize=(5.0 * min(len(drawn), 2), 2.8 * -(-len(drawn) // 2)), dpi=200)
    for index, (group, lines) in enumerate(drawn.items()):
        axes = figure.add_subplot(-(-len(drawn) // 2), min(len(drawn), 2), index + 1)
        axes.set_prop_cycle(color=COLOURS)
        for label, points in lines:
            axes.plot(points[:, 0], points[:, 1], label=label, linewidth=1.6)
        values = np.concatenate([points[:, 1] for _, points in lines])
        if values.min() > 0 and values.max() > 10 * values.min():
            axes.set_yscale("log")
        axes.set_title(f"loss of {group}", fontsize=10, loc="left")
        axes.set_xlabel("step", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    width = 100 * figure.get_figwidth()
    return f"<section><h2>Learning</h2>{_image(_png(figure), 'learning curves', width=width)}</section>"


def _films(films: Sequence[Film]) -> str:
    parts = []
    for film in films:
        end = "success" if film.record.success else "failure"
        frames = "".join(
            f"<figure>{_image(_frame_png(frame), f'{end}, {time:.1f} s')}"
            f"<figcaption>{time:.1f} s</figcaption></figure>"
            for frame, time in zip(film.frames, film.times, strict=True)
        )
        text = f"&ldquo;{escape(film.text)}&rdquo; &middot; " if film.text else ""
        unlike = "" if film.faithful else " &middot; <b>the replay did not end as the episode did</b>"
        parts.append(
            f'<h3><span class="{end}">{end}</span> {escape(film.name)} &middot; {text}'
            f"seed {film.record.seed}, {film.record.length} steps{unlike}</h3>"
            f'<div class="strip">{frames}</div>'
        )
    return f"<section><h2>Episodes</h2>{''.join(parts)}</section>" if parts else ""


def _stages(stages: Sequence[StageLine]) -> str:
    if not stages:
        return ""
    total = sum(stage.seconds for stage in stages)
    rows = "".join(
        f"<tr><th>{escape(stage.name)}</th><td>{_duration(stage.seconds)}</td>"
        f"<td><code>{escape(stage.command)}</code></td></tr>"
        for stage in stages
    )
    return (
        "<section><h2>Stages</h2><table><tr><th></th><th>time</th><th>by hand</th></tr>"
        f"{rows}<tr><th>together</th><td>{_duration(total)}</td><td></td></tr></table></section>"
    )


def _how(results: Mapping[str, Any], notes: Sequence[str]) -> str:
    made, protocol = results["provenance"], results["protocol"]
    versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items() if version)
    stopped = results.get("stopped")
    if stopped:
        notes = [
            *notes,
            f"The comparison was stopped at the look after {stopped['episodes']} episodes, as its plan "
            "allows; rates and intervals of such a run lean outwards.",
        ]
    facts = {
        "protocol": ", ".join(
            f"{name} {protocol[name]}" if protocol.get(name) else usual
            for name, usual in (
                ("execute", "half of each chunk"),
                ("latency_ticks", "no latency"),
                ("max_steps", "the task's own time limit"),
                ("device", "cpu"),
            )
        ),
        "environment": ", ".join(f"{name} {value}" for name, value in protocol["env_options"].items()),
        "policies": "; ".join(f"{name}: {', '.join(paths)}" for name, paths in protocol["policies"].items()),
        "initial states": f"SHA-256 {protocol['states_sha256'][:16]}",
        "intervals": "Clopper-Pearson for one checkpoint; the wider of it and a bootstrap over training "
        "seeds and states for several. Differences: Tango's score interval, or the paired bootstrap.",
        "versions": versions,
        "python": f"{made.get('python')} on {made.get('platform')}",
        "commit": made.get("commit"),
        "command": made.get("command"),
        "written": made.get("time"),
    }
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if value
    )
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f'<section><h2>How it was made</h2>{said}<table class="facts">{rows}</table></section>'


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _png(figure: Figure) -> bytes:
    raw = io.BytesIO()
    FigureCanvasAgg(figure).print_png(raw)
    return raw.getvalue()


def _frame_png(frame: np.ndarray) -> bytes:
    figure = Figure(figsize=(3.2, 3.2 * frame.shape[0] / frame.shape[1]), dpi=100)
    figure.figimage(frame, resize=True)
    return _png(figure)


def _image(png: bytes, what: str, *, width: float | None = None) -> str:
    data = base64.b64encode(png).decode()
    size = "" if width is None else f' style="width: {width:.0f}px"'
    return f'<img{size} alt="{escape(what)}" src="data:image/png;base64,{data}">'


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light; --ink: #1d2733; --soft: #5d6b7a; --line: #e4e8ed; }
body { font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  max-width: 1060px; margin: 48px auto 96px; padding: 0 24px; background: #fff; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 44px 0 12px; padding-top: 16px; border-top: 1px solid var(--line); }
h3 { font-size: 14px; font-weight: 500; margin: 18px 0 8px; }
p.lead { color: var(--soft); margin: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 8px 14px 8px 0; border-bottom: 1px solid var(--line); font-weight: 400;
  vertical-align: middle; }
tr:first-child th { color: var(--soft); font-size: 12.5px; }
td.big { font-size: 21px; font-weight: 600; }
table.facts th { color: var(--soft); width: 130px; white-space: nowrap; font-size: 14px; }
table.facts td { overflow-wrap: anywhere; }
code { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; overflow-wrap: anywhere; }
.strip { display: grid; grid-template-columns: repeat(6, 1fr); gap: 6px; }
figure { margin: 0; }
figure img { width: 100%; display: block; border: 1px solid var(--line); border-radius: 6px; }
figcaption { font-size: 11.5px; color: var(--soft); padding-top: 2px; }
img { max-width: 100%; display: block; }
.success, .failure { color: #fff; border-radius: 4px; padding: 1px 8px; margin-right: 6px;
  font-size: 12.5px; }
.success { background: #2e8b57; } .failure { background: #b5483a; }
</style></head><body>
<h1>$title</h1><p class="lead">$lead</p>
$body
</body></html>
""")
