#!/usr/bin/env python3
"""Verifies a TUF repository folder with python-tuf's ngclient, and downloads targets from it.

An independent judge: nothing of Watchpost's own code is used. The folder is served by Python's own web server, so the
client sees it as any other client on a network would.

Example: scripts/verify-with-python-tuf.py author/repository author/keys/1.root.json --out downloads
Prints one JSON object and exits 0 when everything verified, else says why on standard error and exits 1.
"""

import argparse
import functools
import hashlib
import http.server
import json
import pathlib
import sys
import tempfile
import threading

from tuf.ngclient import Updater, UpdaterConfig


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_):
        """Nothing."""


def serve(folder: pathlib.Path) -> http.server.ThreadingHTTPServer:
    """Serves a folder on a free port of the loopback interface."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def verify(repository: pathlib.Path, root: bytes, wanted: list[str], out: pathlib.Path) -> dict:
    """Refreshes from the pinned root, then downloads the wanted targets, or all of them."""
    server = serve(repository)
    base = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as cache:
        updater = Updater(
            metadata_dir=cache,
            metadata_base_url=f"{base}/metadata/",
            target_base_url=f"{base}/targets/",
            target_dir=str(out),
            config=UpdaterConfig(prefix_targets_with_hash=True),
            bootstrap=root,
        )
        updater.refresh()
        versions = {}
        for role in ("root", "timestamp", "snapshot", "targets"):
            document = json.loads((pathlib.Path(cache) / f"{role}.json").read_bytes())
            versions[role] = document["signed"]["version"]
            if role == "targets":
                named = document["signed"]["targets"]
        downloads = []
        for name in wanted or sorted(named):
            info = updater.get_targetinfo(name)
            if info is None:
                raise LookupError(f"no target {name} in {repository}")
            path = pathlib.Path(updater.download_target(info, filepath=str(out / name)))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            downloads.append({"name": name, "path": str(path), "sha256": digest, "length": info.length})
    server.shutdown()
    return {"repository": str(repository), "versions": versions, "targets": downloads}


def main() -> int:
    """Reads the command line and verifies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=pathlib.Path, help="folder with metadata/ and targets/")
    parser.add_argument("root", type=pathlib.Path, nargs="?", help="pinned first root; its own 1.root.json unless given")
    parser.add_argument("--target", action="append", default=[], help="target to download; all of them unless given")
    parser.add_argument("--out", type=pathlib.Path, help="folder for the downloads; thrown away unless given")
    arguments = parser.parse_args()
    root = arguments.root or arguments.repository / "metadata" / "1.root.json"
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or pathlib.Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        try:
            result = verify(arguments.repository, root.read_bytes(), arguments.target, out)
        except Exception as error:  # pylint: disable=broad-except
            print(f"{arguments.repository} is refused: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
