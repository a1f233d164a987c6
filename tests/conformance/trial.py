"""One case: a repository, a client that has never seen it, and what the client came to trust."""

import json
import pathlib
import subprocess
import tempfile

from repository import Repository, Server

SERVER = Server()
CASES = []
PATIENCE_SECONDS = 60


def case(*variants):
    """Registers a case under its function's name; with variants one for each, named in brackets."""

    def register(function):
        if not variants:
            CASES.append((function.__name__, function, ()))
        for name, *values in variants:
            CASES.append((f"{function.__name__}[{name}]", function, values))
        return function

    return register


class Trial:
    """A repository and a client."""

    def __init__(self, command):
        self.repo = Repository()
        self.address = SERVER.show(self.repo)
        self.command = command
        self.scratch = tempfile.TemporaryDirectory()
        self.trusted = pathlib.Path(self.scratch.name, "metadata")
        self.out = pathlib.Path(self.scratch.name, "targets")
        self.trusted.mkdir()
        self.out.mkdir()
        self.said = ""

    def _run(self, words, at=None):
        faked = ["faketime", at.strftime("%Y-%m-%d %H:%M:%S")] if at else []
        command = [*faked, *self.command, "--metadata-dir", str(self.trusted), *words]
        environment = {"TZ": "UTC", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=environment)
        self.said = done.stderr.strip()
        assert done.returncode in (0, 1), f"exit code {done.returncode}: {self.said}"
        return done.returncode == 0

    def init(self, root=None):
        """Gives the client its first root: the repository's own unless another is given."""
        path = pathlib.Path(self.scratch.name, "first-root.json")
        path.write_bytes(root if root is not None else self.repo.published["root"][0])
        return self._run(["init", str(path)])

    def refresh(self, at=None):
        """Whether the client believes the repository, if its clock says `at`."""
        return self._run(["--metadata-url", f"{self.address}/metadata/", "refresh"], at)

    def download(self, *names, at=None):
        """Whether the client gets these targets, if its clock says `at`."""
        wanted = [word for name in names for word in ("--target-name", name)]
        return self._run([
            "--metadata-url", f"{self.address}/metadata/", *wanted, "--target-dir", str(self.out),
            "--target-base-url", f"{self.address}/targets/", "download",
        ], at)

    def roles(self):
        """The version of each role that the client has kept."""
        return {path.stem: json.loads(path.read_bytes())["signed"]["version"] for path in self.trusted.glob("*.json")}

    def kept(self, role):
        """The bytes that the client has kept of a role."""
        return (self.trusted / f"{role}.json").read_bytes()

    def downloads(self):
        """What the client has downloaded, oldest first."""
        files = [path for path in self.out.rglob("*") if path.is_file()]
        return [path.read_bytes() for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]

    def ready(self):
        """A client that has seen the first state of the repository."""
        assert self.init(), self.said
        assert self.refresh(), self.said
