"""Downloads (5.7): the bytes that were named, whole, under a name that leads nowhere else."""

import json
import urllib.parse

from repository import new_signer
from securesystemslib.formats import encode_canonical
from trial import case


@case()
def test_client_downloads_expected_file(t):
    """A refresh downloads nothing; a download what was asked for."""
    assert t.init()
    t.repo.add_file("target_file.txt", b"target file contents")
    t.repo.publish_all()
    assert t.refresh() and t.downloads() == []
    assert t.download("target_file.txt"), t.said
    assert t.downloads() == [b"target file contents"]


@case()
def test_client_downloads_expected_file_in_sub_dir(t):
    """The hash stands before the name of the file, not before its path."""
    assert t.init()
    target = t.repo.add_file("path/to/a/target_file.txt", b"target file contents")
    t.repo.publish_all()
    assert t.download("path/to/a/target_file.txt"), t.said
    assert t.downloads() == [b"target file contents"]
    assert t.repo.fetched == [("path/to/a/target_file.txt", target.hashes["sha256"])]


@case()
def test_several_targets_at_once(t):
    """One refresh serves for all of them."""
    assert t.init()
    for name in ("a", "b", "c"):
        t.repo.add_file(name, name.encode())
    t.repo.publish_all()
    assert t.download("a", "b", "c"), t.said
    assert t.downloads() == [b"a", b"b", b"c"]
    assert t.repo.asked == [("root", 2), ("timestamp", None), ("snapshot", 2), ("targets", 2)]


@case()
def test_repository_substitutes_target_file(t):
    """Other bytes of any length are not taken, and what was there stays."""
    assert t.init()
    t.repo.add_file("one", b"the first file")
    t.repo.add_file("two", b"the second file")
    t.repo.publish_all()
    assert t.download("one"), t.said
    t.repo.files["one"] = t.repo.files["two"] = b"malicious data"
    t.download("one")
    assert t.downloads() == [b"the first file"]
    for wrong in (b"", b"the second", b"another secret!", b"the second file and more"):
        t.repo.files["two"] = wrong
        assert not t.download("two"), wrong
        assert t.downloads() == [b"the first file"]


@case()
def test_multiple_changes_to_target(t):
    """Through eleven states, of which the client sees every fifth, and lies in between."""
    assert t.init()
    t.repo.add_file("changing", b"first contents")
    t.repo.publish_all()
    assert t.download("changing"), t.said
    expected = [b"first contents"]
    for number in range(11):
        changed, new = f"contents {number}".encode(), f"new contents {number}".encode()
        t.repo.add_file("changing", changed)
        t.repo.add_file(f"new-{number}", new)
        t.repo.publish_all()
        if number % 5:
            continue
        assert t.download("changing"), t.said
        expected = [*[old for old in expected if not old.startswith((b"contents", b"first"))], changed]
        assert t.downloads() == expected, t.downloads()
        assert t.download(f"new-{number}"), t.said
        expected.append(new)
        assert t.downloads() == expected, t.downloads()
        t.repo.files["changing"] = b"malicious contents"
        t.repo.publish_all()
        t.download("changing")
        assert t.downloads() == expected, t.downloads()


@case(("sha256", ["sha256"]), ("sha512", ["sha512"]), ("both", ["sha256", "sha512"]))
def test_download_with_hash_algorithms(t, algorithms):
    """Either hash may name the file."""
    target = t.repo.add_file("target_file.txt", b"target file contents", algorithms=algorithms)
    t.repo.publish_all()
    assert t.init()
    assert t.download("target_file.txt"), t.said
    assert len(t.repo.fetched) == 1 and t.repo.fetched[0][1] in target.hashes.values()
    assert t.downloads() == [b"target file contents"]


@case(("sha256", "sha256"), ("sha512", "sha512"))
def test_every_hash_must_match(t, wrong):
    """Of two hashes one is wrong."""
    target = t.repo.add_file("a", b"contents", algorithms=["sha256", "sha512"])
    target.hashes[wrong] = "0" * len(target.hashes[wrong])
    t.repo.publish_all()
    assert t.init()
    assert not t.download("a")
    assert t.downloads() == []


@case()
def test_download_with_unknown_hash_algorithm(t):
    """A hash that nobody can compute proves nothing."""
    target = t.repo.add_file("a", b"contents", algorithms=["sha512"])
    target.hashes = {"unknown-hash": target.hashes["sha512"]}
    t.repo.publish_all()
    assert t.init()
    assert not t.download("a")
    assert t.downloads() == []


@case()
def test_artifact_cache(t):
    """What lies there already with the same hash is not fetched again."""
    assert t.init()
    t.repo.add_file("a", b"contents")
    t.repo.publish_all()
    assert t.download("a") and t.download("a"), t.said
    assert len(t.repo.fetched) == 1
    for path in t.out.rglob("*"):
        path.write_bytes(b"spoiled")
    assert t.download("a"), t.said
    assert len(t.repo.fetched) == 2 and t.downloads() == [b"contents"]


@case()
def test_missing_target_file(t):
    """It is named, and it is not there."""
    assert t.init()
    t.repo.add_file("a", b"contents")
    t.repo.publish_all()
    t.repo.files.clear()
    assert not t.download("a")
    assert t.downloads() == []


@case(
    ("parents", "../../escape"), ("absolute", "/etc/escape"), ("dots", ".."), ("blank", "a name with spaces"),
    ("question", "what?"), ("hash", "a#b"), ("percent", "a%2Fb"), ("letters", "ünïcode"),
)
def test_unusual_target_name(t, name):
    """Whatever a target is called: it is asked for by that name, and nothing is written outside of the folder."""
    assert t.init()
    t.repo.add_file(name, b"contents")
    t.repo.publish_all()
    t.download(name)
    assert all(path == name for path, _ in t.repo.fetched), t.repo.fetched
    assert all(found == b"contents" for found in t.downloads())
    scratch = {path.name for path in t.out.parent.iterdir()}
    assert scratch == {"metadata", "targets", "first-root.json"}, scratch


@case(("question", "?"), ("hash", "#"), ("absolute", "/delegatedrole"), ("parents", "../delegatedrole"))
def test_unusual_role_name(t, role):
    """Whatever a role is called: it is asked for in quotes, and kept in the folder."""
    t.repo.delegate("targets", role)
    t.repo.publish_all(role)
    assert t.init()
    assert not t.download("nonexistent target")
    assert (urllib.parse.quote(role, ""), 1) in t.repo.asked, t.repo.asked
    assert len(t.roles()) == 5, t.roles()
    assert {path.name for path in t.out.parent.iterdir()} == {"metadata", "targets", "first-root.json"}


@case(("root", "root"), ("timestamp", "timestamp"), ("snapshot", "snapshot"))
def test_delegated_role_with_a_top_level_name(t, role):
    """A delegation cannot replace what is kept of a top-level role."""
    t.ready()
    kept = t.kept(role)
    t.repo.targets.unrecognized_fields["x"] = 1
    document = json.loads(t.repo.published["targets"][0])
    signer = new_signer()
    key = signer.public_key
    document["signed"]["delegations"] = {
        "keys": {key.keyid: key.to_dict()},
        "roles": [{"name": role, "keyids": [key.keyid], "threshold": 1, "terminating": False, "paths": ["*"]}],
    }
    document["signed"]["version"] = 2
    data = encode_canonical(document["signed"]).encode()
    document["signatures"] = [
        {"keyid": s.public_key.keyid, "sig": s.sign(data).signature} for s in t.repo.signers["targets"]
    ]
    t.repo.published["targets"].append(json.dumps(document).encode())
    t.repo.snapshot.meta["targets.json"].version = 2
    t.repo.publish("snapshot", "timestamp")
    assert not t.download("anything")
    assert t.kept(role) == kept or role != "root"
    assert json.loads(t.kept(role))["signed"]["_type"] == role
