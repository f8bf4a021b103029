"""Our policies beside lerobot 0.4.4's, in one run: `python benchmarks/peers.py`.

Both sides have one thread and sizes that agree (parameter counts are printed). The two are asked in turn,
ours, theirs, ours, theirs, each with a fresh measurement of the machine's matrix rate before it; figures
are medians, and a ratio is the median of the rounds' own ratios. lerobot runs with its own torch, in
the environment of `tests/interop/lerobot_venv.py`, which is made where it is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
CASES = {  # calls in one round, and what it is
    "unet_train": (5, "U-Net 64-128-256, horizon 16, batch 64: training step"),
    "act_train": (2, "ACT, chunk 50, batch 64: training step"),
    "unet_sample": (10, "U-Net, DDIM with 10 steps: one chunk"),
    "act_sample": (40, "ACT: one chunk"),
}


class Side:
    """A process of `peers/`, asked for one measurement at a time."""

    def __init__(self, python: str, script: str) -> None:
        self._script = script
        one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [python, ROOT / "benchmarks/peers" / script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **one_thread, "HF_HUB_OFFLINE": "1"},
        )
        self.rates: list[float] = []

    def ask(self, case: str, repeats: int) -> dict:
        """Median `wall` and `cpu` seconds of one call, its `parameters` and `flops`."""
        rate = self._ask("matmul", 5)
        self.rates.append(rate["flops"] / rate["cpu"] / 1e9)
        return self._ask(case, repeats)

    def _ask(self, case: str, repeats: int) -> dict:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{case} {repeats}\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            sys.exit(f"{self._script} ended while it measured {case}; its error is above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--out", type=Path, help="also write the figures here, as JSON")
    asked = options.parse_args()

    made = subprocess.run(
        [sys.executable, ROOT / "tests/interop/lerobot_venv.py"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    ours, theirs = Side(sys.executable, "our_policies.py"), Side(made.stdout.strip(), "lerobot_policies.py")
    figures = {}
    for case in asked.cases:
        repeats, title = CASES[case]
        rounds = [(ours.ask(case, repeats), theirs.ask(case, repeats)) for _ in range(asked.rounds)]
        figures[case] = {"title": title}
        for clock in ("cpu", "wall"):
            figures[case][f"{clock}_ratio"] = median(b[clock] / a[clock] for a, b in rounds)
        for side, answers in (("ours", [a for a, _ in rounds]), ("lerobot", [b for _, b in rounds])):
            cpu, wall = (median(answer[clock] for answer in answers) for clock in ("cpu", "wall"))
            figures[case][side] = {
                "cpu_ms": 1e3 * cpu,
                "wall_ms": 1e3 * wall,
                "parameters": answers[0]["parameters"],
                "gflops": answers[0]["flops"] / cpu / 1e9,
            }
    rate = {"ours": median(ours.rates), "lerobot": median(theirs.rates)}
    ours.close()
    theirs.close()

    print(f"matrix rate in GFLOP/s, one thread: ours {rate['ours']:.0f}, lerobot {rate['lerobot']:.0f}")
    for case in figures.values():
        print(f"\n{case['title']}")
        print(
            f"  lerobot takes {case['cpu_ratio']:.2f}x our CPU time, {case['wall_ratio']:.2f}x our wall time"
        )
        for side in ("ours", "lerobot"):
            row = case[side]
            share, size = row["gflops"] / rate[side], row["parameters"] / 1e6
            times = f"{row['cpu_ms']:8.1f} ms CPU {row['wall_ms']:8.1f} ms wall"
            print(f"  {side:8} {times}  {size:6.2f} M parameters  {share:4.0%} of the matrix rate")
    if asked.out:
        asked.out.write_text(json.dumps({"matmul_gflops": rate, "cases": figures}, indent=1))


if __name__ == "__main__":
    main()
