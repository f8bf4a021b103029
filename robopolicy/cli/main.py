"""The `robopolicy` command: finds the subcommand, loads only it, and turns a user's mistake into one line.

Exit status: 0 done, 1 a check found something (`doctor`, `check`, `data check`), 2 a user's mistake, 130
interrupted. A traceback means a bug.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence

from robopolicy.core.errors import UnknownNameError, UserError

COMMANDS = {
    "quickstart": "the whole path once: collect, train, evaluate, report",
    "collect": "record demonstrations of a task",
    "train": "learn from data",
    "eval": "evaluate policies over seeded episodes, and compare them",
    "list": "tasks, qualities, policies and recipes there are",
    "view": "write a dataset's or an evaluation's episodes as a Rerun recording",
    "data": "look at, check, convert or merge datasets",
    "check": "run the conformance kit on a policy or a task",
    "doctor": "examine this machine and say how to mend what is missing",
}


def usage() -> str:
    """The text of `robopolicy --help`."""
    rows = "\n".join(f"  {name:<11}{what}" for name, what in COMMANDS.items())
    return (
        f"usage: robopolicy COMMAND [ARGUMENTS] [key=value ...]\n\n{rows}\n\n"
        "robopolicy COMMAND --help shows the keys of a command. Several values sweep:\n"
        "  robopolicy train policy=flow,diffusion -m"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` defaults to the process's arguments. Returns the exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args[0] in ("--version", "-V"):
        from robopolicy import __version__

        print(__version__)
        return 0
    try:
        return _run(args[0], args[1:])
    except (Exception, KeyboardInterrupt) as error:
        if _interrupted(error):
            print("interrupted", file=sys.stderr)
            return 130
        if isinstance(error, UserError):
            print(f"robopolicy {args[0]}: {error}", file=sys.stderr)
            return 2
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            print(
                f"robopolicy {args[0]}: {error.filename}: {error.strerror}; change who may use it, or choose "
                "another path",
                file=sys.stderr,
            )
            return 2
        if isinstance(error, BrokenPipeError):  # `robopolicy list | head`: nobody reads on
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        raise


def _run(command: str, args: list[str]) -> int:
    if command not in COMMANDS:
        raise UnknownNameError("command", command, list(COMMANDS))
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(
            f"the working directory is gone ({error.strerror}); cd to one that is there"
        ) from error
    from robopolicy.core.share import refuse_foreign_packages
    from robopolicy.core.threads import use_threads

    use_threads()  # before anything imports torch or numpy
    refuse_foreign_packages()
    module = importlib.import_module(f"robopolicy.cli.{command}")
    if {"-h", "--help"} & set(args):
        print((module.__doc__ or "").strip())
        if config := getattr(module, "CONFIG", None):
            from robopolicy.cli.compose import defaults_text

            print(f"\nKeys and their defaults (configs/{config}.yaml):\n\n{defaults_text(config)}")
        return 0
    return module.run(args) or 0


def _interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is behind it: a module that is interrupted while it imports may raise an ImportError."""
    chain = [error]
    for each in chain:
        if isinstance(each, KeyboardInterrupt):
            return True
        chain += [behind for behind in (each.__cause__, each.__context__) if behind and behind not in chain]
    return False


if __name__ == "__main__":
    sys.exit(main())
