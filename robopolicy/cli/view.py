"""usage: robopolicy view DATASET [episodes=[0,1,2]] [output=FILE.rrd] [--open]
       robopolicy view RESULTS [output=FILE.rrd] [--open]

Writes a Rerun recording: of recorded episodes of a dataset, or of the first success and the first failure of
each policy in an evaluation's folder, replayed from their seeds and actions. --open shows it in the viewer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from robopolicy.cli.compose import options, split
from robopolicy.core.errors import ConfigError


def run(args: Sequence[str]) -> None:
    """Write the recording, and show it where that is asked for."""
    words = split(args, flags=("--open",))
    (source,) = words.some("view DATASET|RESULTS [key=value ...]", least=1, most=1)
    chosen = options(words, episodes=None, output=None)
    out = Path(chosen["output"] or Path(source) / "episodes.rrd")
    from robopolicy.cli import recording

    if (Path(source) / "meta" / "info.json").is_file():
        recording.record_dataset(source, chosen["episodes"], out)
    elif (Path(source) / "results.json").is_file():
        recording.record_results(Path(source), out)
    else:
        raise ConfigError(f"{source} is neither a dataset nor the folder of an evaluation (results.json)")
    print(out)
    if "--open" in words.flags:
        subprocess.run([sys.executable, "-m", "rerun", str(out)], check=False)
