"""A TUF repository that a case builds, publishes and breaks, and the web server that shows it.

Documents are made and signed with python-tuf, so that nothing of the client under test judges itself.
"""

import datetime
import hashlib
import http.server
import json
import threading
import urllib.parse

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TOP = ("root", "timestamp", "snapshot", "targets")
MAKERS = {
    ("ed25519", "ed25519"): CryptoSigner.generate_ed25519,
    ("ecdsa", "ecdsa-sha2-nistp256"): CryptoSigner.generate_ecdsa,
    ("rsa", "rsassa-pss-sha256"): CryptoSigner.generate_rsa,
    ("rsa", "rsa-pkcs1v15-sha256"): lambda: CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"),
}


def now():
    """The present, in the whole seconds that metadata knows."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def days(count):
    """So many days from now."""
    return now() + datetime.timedelta(days=count)


def new_signer(keytype="ed25519", scheme="ed25519"):
    """A fresh key."""
    return MAKERS[(keytype, scheme)]()


class Repository:
    """What it would say next (`said`), what it has published (`published`), and what was asked of it."""

    def __init__(self):
        self.said, self.published, self.signers = {}, {}, {}
        self.files, self.asked, self.fetched = {}, [], []
        self.with_hashes = False
        self.expiry = days(30)
        for role, kind in zip(TOP, (Root, Timestamp, Snapshot, Targets)):
            self.said[role] = Metadata(kind(expires=self.expiry))
        for role in TOP:
            self.add_key(role)
        self.publish("targets", "snapshot", "timestamp", "root")

    def __getattr__(self, role):
        """`repository.root` is what the root would say next, and so for every role."""
        if role in self.__dict__.get("said", {}):
            return self.said[role].signed
        raise AttributeError(role)

    def add_key(self, role, signer=None, delegator=None):
        """One more key for a role, named by the root or by the role that delegates to it."""
        signer = signer or new_signer()
        (self.said[delegator].signed if delegator else self.root).add_key(signer.public_key, role)
        self.signers.setdefault(role, []).append(signer)
        return signer

    def drop_keys(self, role):
        """Takes all keys of a top-level role away."""
        self.root.roles[role].keyids.clear()
        self.signers[role].clear()

    def rotate_key(self, role):
        """Another key instead of all there were."""
        self.drop_keys(role)
        self.add_key(role)

    def sign(self, role):
        """The bytes of a document as it is, signed by all its signers."""
        document = self.said[role]
        document.signatures.clear()
        for signer in self.signers[role]:
            document.sign(signer, append=True)
        return document.to_bytes(JSONSerializer())

    def publish(self, *roles, bump=True):
        """Signs and shows the next version of each role, and has the parent document name it."""
        for role in roles:
            signed = self.said[role].signed
            if bump and self.published.get(role):
                signed.version += 1
            data = self.sign(role)
            self.published.setdefault(role, []).append(data)
            digest = {"sha256": hashlib.sha256(data).hexdigest()} if self.with_hashes else None
            pin = MetaFile(signed.version, len(data) if self.with_hashes else None, digest)
            if role == "snapshot":
                self.timestamp.snapshot_meta = pin
            elif role not in ("root", "timestamp"):
                self.snapshot.meta[f"{role}.json"] = pin

    def publish_all(self, *first):
        """Everything below the root."""
        self.publish(*first, "targets", "snapshot", "timestamp")

    def rewrite(self, role, change):
        """Changes what was published last without signing it anew."""
        document = json.loads(self.published[role][-1])
        change(document)
        self.published[role][-1] = json.dumps(document).encode()

    def add_file(self, path, data, role="targets", algorithms=("sha256",)):
        """A target and its bytes."""
        target = TargetFile.from_data(path, data, list(algorithms))
        self.said[role].signed.targets[path] = target
        self.files[path] = data
        return target

    def delegate(self, delegator, name, paths=("*",), terminating=False, expires=None, prefixes=None):
        """Has `delegator` hand part of its names to the role `name`, which comes to be if it is not there."""
        parent = self.said[delegator].signed
        if parent.delegations is None:
            parent.delegations = Delegations({}, roles={})
        paths = None if prefixes else list(paths)
        parent.delegations.roles[name] = DelegatedRole(name, [], 1, terminating, paths, prefixes)
        if name not in self.said:
            self.said[name] = Metadata(Targets(expires=expires or self.expiry))
        if self.signers.get(name):
            parent.add_key(self.signers[name][0].public_key, name)
        else:
            self.add_key(name, delegator=delegator)

    def metadata(self, name):
        """A file of metadata as it was asked for; `None`: there is none."""
        stem = name.removesuffix(".json")
        role, version = stem, None
        if "." in stem and stem.split(".", 1)[0].isdigit() and (self.root.consistent_snapshot or ".root" in stem):
            version, role = stem.split(".", 1)
            version = int(version)
        self.asked.append((role, version))
        known = self.published.get(urllib.parse.unquote(role), [])
        if version is None:
            return known[-1] if known else None
        return known[version - 1] if 0 < version <= len(known) else None

    def file(self, place):
        """A target file as it was asked for."""
        folder, _, name = place.rpartition("/")
        prefix = None
        if self.root.consistent_snapshot:
            prefix, _, name = name.partition(".")
        path = f"{folder}/{name}" if folder else name
        self.fetched.append((path, prefix))
        named = {h for doc in self.said.values() if isinstance(doc.signed, Targets)
                 for known, target in doc.signed.targets.items() if known == path for h in target.hashes.values()}
        return self.files.get(path) if prefix is None or prefix in named else None


class Server(http.server.ThreadingHTTPServer):
    """Shows repositories on the loopback interface, each below its number."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def show(self, repository):
        """Shows one more; gives its address."""
        self.repositories.append(repository)
        return f"http://127.0.0.1:{self.server_port}/{len(self.repositories) - 1}"


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):  # noqa: N802
        """Answers with a file, or that there is none."""
        number, _, path = self.path.lstrip("/").partition("/")
        repository = self.server.repositories[int(number)]
        kind, _, name = path.partition("/")
        found = repository.metadata(name) if kind == "metadata" else repository.file(urllib.parse.unquote(name))
        if found is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        try:
            self.wfile.write(found)
        except ConnectionError:
            pass  # the client has read as much as it may

    def log_message(self, *_):
        """Nothing."""
