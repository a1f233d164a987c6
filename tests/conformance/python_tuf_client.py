#!/usr/bin/env python3
"""python-tuf behind the interface of `tuf-client`: the peer that shows whether a case asks for too much.

Example: target/venv/bin/python tests/conformance/run.py target/venv/bin/python tests/conformance/python_tuf_client.py
"""

import argparse
import pathlib
import sys
import urllib.parse

from tuf.ngclient import Updater


def main():
    """One call of the client."""
    parser = argparse.ArgumentParser()
    for name in ("--metadata-dir", "--metadata-url", "--target-base-url", "--target-dir"):
        parser.add_argument(name)
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("command", choices=("init", "refresh", "download"))
    parser.add_argument("root", nargs="?")
    asked = parser.parse_args()
    first = pathlib.Path(asked.metadata_dir, "pinned-root")
    if asked.command == "init":
        first.write_bytes(pathlib.Path(asked.root).read_bytes())
        pathlib.Path(asked.metadata_dir, "root.json").write_bytes(first.read_bytes())
        return
    updater = Updater(
        metadata_dir=asked.metadata_dir,
        metadata_base_url=asked.metadata_url,
        target_base_url=asked.target_base_url,
        target_dir=asked.target_dir,
        bootstrap=first.read_bytes(),
    )
    updater.refresh()
    for name in asked.target_name:
        info = updater.get_targetinfo(name)
        if info is None:
            raise LookupError(name)
        path = pathlib.Path(asked.target_dir, urllib.parse.quote(name, ""))
        if not updater.find_cached_target(info, str(path)):
            updater.download_target(info, str(path))


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # pylint: disable=broad-except
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
