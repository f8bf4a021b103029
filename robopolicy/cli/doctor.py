"""usage: robopolicy doctor

Examines this machine: Python, package versions against the tested ones, cores and threads, GPU, the suites,
every GL backend (a frame is really drawn), the optional extras, disk. Prints the command that mends what is
missing. Exit status 1 when something the base installation needs is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

from robopolicy.cli.compose import split


def run(args: Sequence[str]) -> int:
    """Print every finding; 1 when something needed is missing."""
    split(args, keys=False, sweeps=False).some("doctor", least=0, most=0)
    from robopolicy.cli.probes import examine

    broken = 0
    for finding in examine():
        mark = "ok     " if finding.ok else ("MISSING" if finding.needed else "-      ")
        print(f"{mark}  {finding.area:<8} {finding.what}", flush=True)
        if finding.fix:
            print(f"{'':19}mend: {finding.fix}")
        broken += finding.needed and not finding.ok
    print(
        f"\n{broken} needed thing(s) missing"
        if broken
        else "\nEverything the base installation needs is here"
    )
    return 1 if broken else 0
