#!/usr/bin/env python3
"""Runs every case against a TUF client: prints each case's name and how it went, then the sum.

The client is a command with the interface of the tuf-conformance suite (`init`, `refresh`, `download`). The cases follow
the TUF specification 1.0.30 and bear the names that the suite gives them; there are no expected failures.

Example: target/venv/bin/python tests/conformance/run.py target/release/watchpost-updater tuf-client
"""

import argparse
import sys
import traceback

import cases_basic  # noqa: F401
import cases_delegations  # noqa: F401
import cases_keys  # noqa: F401
import cases_rollback  # noqa: F401
import cases_targets  # noqa: F401
import cases_time  # noqa: F401
from trial import CASES, Trial


def run(name, function, values, command):
    """Runs one case; whether it went well."""
    trial = Trial(command)
    try:
        function(trial, *values)
    except Exception:  # pylint: disable=broad-except
        print(f"FAILED {name}\n{traceback.format_exc()}the client said last: {trial.said}", flush=True)
        return False
    print(f"ok {name}", flush=True)
    return True


def main():
    """Reads the command line and runs the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the client and its first words")
    arguments = parser.parse_args()
    chosen = [case for case in CASES if arguments.only in case[0]]
    results = [run(*case, arguments.command) for case in chosen]
    functions = len({case[1] for case in chosen})
    print(f"{sum(results)} of {len(results)} cases passed, of {functions} functions")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
