"""usage: robopolicy view DATASET [episodes=[0,1,2]] [output=FILE.rrd] [--open]
       robopolicy view RESULTS [films=3] [output=FILE.rrd|FILE.html] [--open]

Writes a Rerun recording: of recorded episodes of a dataset, or of the first success and the first failures of
each policy in an evaluation's folder, replayed from their seeds and actions. With a name that ends in .html,
the page about the evaluation: success, films, and learning curves where the runs are still there. --open
shows it.
"""

from __future__ import annotations

import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robopolicy.cli.compose import options, split
from robopolicy.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The keys of the command: episodes of a dataset, failures of an evaluation, and the file to write."""

    episodes: tuple[int, ...] | None = None
    films: int | None = None
    output: str | None = None


def run(args: Sequence[str]) -> None:
    """Write the recording, and show it where that is asked for."""
    words = split(args, flags=("--open",), sweeps=False)
    source = Path(*words.some("view DATASET|RESULTS [key=value ...]", least=1, most=1))
    from robopolicy.cli import recording
    from robopolicy.core.build import fill

    asked = fill(Asked, options(words, episodes=None, films=None, output=None))
    out = source / "episodes.rrd" if asked.output is None else Path(asked.output)
    page = out.suffix == ".html"
    if not page and out.suffix != ".rrd":
        raise ConfigError(f"output is {asked.output!r}; a name that ends in .rrd, or in .html, is meant")
    if (source / "meta" / "info.json").is_file():
        if page or asked.films is not None:
            raise ConfigError(f"{source} is a dataset: give episodes=[...] and a name that ends in .rrd")
        recording.record_dataset(source, asked.episodes, out)
    elif (source / "results.json").is_file():
        if asked.episodes is not None:
            raise ConfigError(f"{source} is an evaluation: give films=, how many failures of each policy")
        failures = recording.FAILURES if asked.films is None else asked.films
        (recording.report_results if page else recording.record_results)(source, out, failures=failures)
    else:
        raise ConfigError(f"{source} is neither a dataset nor the folder of an evaluation (results.json)")
    print(out)
    if "--open" in words.flags and page:
        webbrowser.open(out.resolve().as_uri())
    elif "--open" in words.flags:
        subprocess.run([sys.executable, "-m", "rerun", str(out)], check=False)
