"""Counts CPU time by area and refuses skips that nobody listed."""

from __future__ import annotations

import fnmatch
import resource
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from robopolicy.core.threads import use_threads

HERE = Path(__file__).parent
BUDGET_MINUTES = {"foundation": 6.0, "suites": 2.0}
# What a test's path begins with, by area; all others belong to the foundation
AREAS = {
    "suites": (
        "tests/suites/",
        "tests/data/importers/",
        "tests/policies/test_autoregressive",
        "tests/policies/test_energy",
    )
}

use_threads()  # before torch is imported; two threads beside another process are many times slower than one

# Arguments and results are held to their annotations, shapes included, where production checks nothing. It is
# done here, before the first import of what is checked: jaxtyping's own option does not reach xdist workers.
install_import_hook(["robopolicy.ops", "robopolicy.nn", "robopolicy.policies"], "beartype.beartype")


def _cpu_seconds() -> float:
    """CPU time of this process and of the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _folder(nodeid: str) -> str:
    parts = Path(nodeid.partition("::")[0]).parts
    return parts[1] if len(parts) > 2 else "top level"


def _area(nodeid: str) -> str:
    return next((area for area, starts in AREAS.items() if nodeid.startswith(starts)), "foundation")


def _listed_skips() -> list[str]:
    lines = (HERE / "skips.txt").read_text().splitlines()
    return [line.partition("|")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


class Accounts:
    """What the controlling process adds up; with xdist it hears of each test through its report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)  # by folder
        self.areas: dict[str, float] = defaultdict(float)
        self.total = 0.0
        self.unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        spent = [value for name, value in report.user_properties if name == f"cpu_{report.when}"]
        seconds = sum(map(float, spent))  # type: ignore[arg-type]
        self.seconds[_folder(report.nodeid)] += seconds
        self.areas[_area(report.nodeid)] += seconds
        listed = _listed_skips() if report.skipped and not hasattr(report, "wasxfail") else None
        if listed is not None and not any(fnmatch.fnmatch(report.nodeid, pattern) for pattern in listed):
            self.unlisted.append(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node) -> None:
        self.total += getattr(node, "workeroutput", {}).get("cpu", 0.0)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        total = self.total or _cpu_seconds()
        write = terminalreporter.write_line
        write("")
        for area, seconds in sorted(self.areas.items()):
            budget = BUDGET_MINUTES[area]
            over = "  OVER ITS BUDGET" if seconds > 60 * budget else ""
            write(f"CPU {area}: {seconds / 60:.2f} of {budget:.0f} minutes{over}")
        folders = sorted(self.seconds.items(), key=lambda item: -item[1])
        write(
            "    " + ", ".join(f"{folder} {seconds:.1f} s" for folder, seconds in folders if seconds >= 0.05)
        )
        write(f"    collection and imports: {max(0.0, total - sum(self.seconds.values())):.1f} s")
        for nodeid in self.unlisted:
            write(f"SKIPPED BUT NOT LISTED in tests/skips.txt: {nodeid}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Accounts(), "accounts")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--times", type=int, default=1, help="multiply the examples of property tests (make fuzz)"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each test says in `@settings` how many examples it needs; hypothesis offers no way to scale that."""
    times: int = config.getoption("--times") or 1
    for item in items if times > 1 else ():
        test = getattr(item, "obj", None)
        if (own := getattr(test, "_hypothesis_internal_use_settings", None)) is not None:
            more = settings(own, max_examples=times * own.max_examples)
            test._hypothesis_internal_use_settings = more  # type: ignore[union-attr]


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["cpu"] = _cpu_seconds()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Each phase's report carries the CPU time since the phase before it ended."""
    now = _cpu_seconds()
    since = getattr(item.config, "_cpu_mark", None)
    item.config._cpu_mark = now  # type: ignore[attr-defined]
    outcome = yield
    if since is not None:
        outcome.get_result().user_properties.append((f"cpu_{call.when}", now - since))
