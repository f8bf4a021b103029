"""What an evaluation says on the terminal: the policies, task by task, and how those compared differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robopolicy.evaluate.compare import Comparison
from robopolicy.evaluate.results import Results


def all_tables(results: Results, each: Mapping[str, Results]) -> str:
    """What is printed after an evaluation: of each task where it was of several, and of all together."""
    parts = [task_table(each)] if len(each) > 1 else []
    parts.append(policy_table(results))
    if results.comparisons:
        parts.append(comparison_table(results.comparisons))
    told = "\n\n".join(parts)
    if results.stopped is None:
        return told
    return f"{told}\ndecided after {results.stopped['episodes']} of {results.protocol['episodes']} episodes"


def policy_table(results: Results) -> str:
    """A line for each policy: success, its 95 % interval, and the time of a call; the success of each
    training seed where there are several.
    """
    rows = [["policy", "success", "95 % interval", "episodes", "ms a call (p50)", "(p99)", ""]]
    for name, found in results.policies.items():
        low, high = found.interval
        each = [sum(record.success for record in run) / len(run) for run in results.records[name]]
        rows.append(
            [
                name,
                f"{found.success:.3f}",
                f"{low:.3f} to {high:.3f}",
                str(found.episodes),
                f"{found.latency_ms['p50']:.1f}",
                f"{found.latency_ms['p99']:.1f}",
                f"training seeds: {' '.join(f'{rate:.3f}' for rate in each)}" if len(each) > 1 else "",
            ]
        )
    return _aligned(rows)


def task_table(each: Mapping[str, Results]) -> str:
    """A line for each task: the success of each policy."""
    names = list(next(iter(each.values())).policies)
    rows = [["task", *names, ""]]
    for task, results in each.items():
        rows.append([task, *(f"{results.policies[name].success:.3f}" for name in names), ""])
    return _aligned(rows)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """A line for each pair, on the episodes that both met: difference, its 95 % interval, and the test of two
    single checkpoints or else the difference of each training seed.
    """
    rows = [["difference on the same episodes", "success", "95 % interval", "solved by one only", ""]]
    for pair in comparisons:
        low, high = pair.interval
        if pair.p_holm is None:
            said = f"training seeds: {' '.join(f'{difference:+.3f}' for difference in pair.per_seed)}"
        else:
            said = f"p = {pair.p_holm:.3g} (exact McNemar, Holm)"
        rows.append(
            [
                f"{pair.a} - {pair.b}",
                f"{pair.difference:+.3f}",
                f"{low:+.3f} to {high:+.3f}",
                f"{pair.only_a} : {pair.only_b}",
                said,
            ]
        )
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first and the last to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *figures, last in rows:
        cells = [figure.rjust(width) for figure, width in zip(figures, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells, last]).rstrip())
    return "\n".join(lines)
