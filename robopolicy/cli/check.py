"""usage: robopolicy check POLICY [policy.key=value ...]
       robopolicy check SUITE/TASK

Runs the conformance kit (robopolicy.testing): on a policy of configs/policy, built for tiny data of states
and of states with images and text; or on the environment of a task. One line a check; exit status 1 when a
promise is broken, which an error of any kind does.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence

from robopolicy.cli.compose import Words, compose, split
from robopolicy.core.errors import ConfigError, UserError

Check = tuple[str, Callable[[], object]]


def run(args: Sequence[str]) -> int:
    """Run every check on what is named; 1 when one fails."""
    words = split(args, sweeps=False)
    (name,) = words.some("check NAME", least=1, most=1)
    kept = broken = 0
    for title, check in task_checks(name, words) if "/" in name else policy_checks(name, words):
        try:
            check()
        except Exception as error:  # of code that is being tried anything may come
            if isinstance(error, UserError) and not kept:
                raise  # the first check builds what is named: its arguments are a mistake
            broken += 1
            print(f"BROKEN  {title}: {_said(error)}", flush=True)
        else:
            kept += 1
            print(f"ok      {title}", flush=True)
    print(f"{name}: {f'{broken} promise(s) broken' if broken else 'keeps every promise'}")
    return 1 if broken else 0


def _said(error: Exception) -> str:
    """The kit's own words; what else was raised with its kind, and where in the code that is tried."""
    if isinstance(error, AssertionError) and str(error):
        return str(error)
    places = traceback.extract_tb(error.__traceback__)
    last = next((at for at in reversed(places) if "site-packages" not in at.filename), places[-1])
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


def policy_checks(name: str, words: Words) -> Iterator[Check]:
    """The checks of a learner, and of the policy it is, for both tiny specs."""
    from robopolicy import testing
    from robopolicy.core.build import build

    for word in words.overrides:
        if not word.lstrip("+~").startswith("policy."):
            raise ConfigError(
                f"{word} is no key of a policy, which is all that is built here: policy.key=value"
            )
    node = compose("train", [f"policy={name}", "data=unused", *words.overrides])["policy"]
    return testing.learner_checks(lambda spec: build(node, spec=spec))


def task_checks(name: str, words: Words) -> Iterator[Check]:
    """The checks of an environment."""
    from robopolicy import testing
    from robopolicy.core.suites import find, make_env

    if words.overrides:
        raise ConfigError(f"a task takes no keys here, got {list(words.overrides)}")
    find(name)  # an unknown task is a mistake, not a broken promise
    yield "environment", lambda: testing.check_env(lambda: make_env(name))
