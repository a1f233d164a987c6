"""The client's workflow of section 5: what it asks for, what it keeps, and what it does not believe."""

import json

from repository import MetaFile, days, new_signer
from trial import case

FIRST_LOOK = [("root", 2), ("timestamp", None), ("snapshot", 1), ("targets", 1)]


@case()
def test_basic_refresh_requests(t):
    """5.3 to 5.6, in their order and nothing more."""
    t.ready()
    assert t.repo.asked == FIRST_LOOK, t.repo.asked


@case()
def test_basic_refresh_trusted_data(t):
    """What was verified is kept under names without versions."""
    t.ready()
    for role in ("root", "timestamp", "snapshot", "targets"):
        assert t.kept(role) == t.repo.published[role][-1], role
    assert t.roles() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


@case()
def test_basic_init_asks_for_nothing(t):
    """Trust on first use needs no network."""
    assert t.init()
    assert t.repo.asked == [] and t.roles() == {"root": 1}


@case()
def test_implicit_refresh(t):
    """A download refreshes first, also when the target is nowhere."""
    assert t.init()
    assert not t.download("nonexistent artifact")
    assert t.repo.asked == FIRST_LOOK, t.repo.asked
    assert t.roles() == {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}


@case()
def test_invalid_initial_root(t):
    """A first root without a version is none."""
    root = json.loads(t.repo.published["root"][0])
    del root["signed"]["version"]
    t.init(json.dumps(root).encode())
    assert not t.refresh()
    assert t.repo.asked == []


@case()
def test_unsigned_initial_root(t):
    """A first root that its own keys do not vouch for is none."""
    root = json.loads(t.repo.published["root"][0])
    root["signatures"][0]["sig"] = "00" * 64
    t.init(json.dumps(root).encode())
    assert not t.refresh()
    assert t.repo.asked == []


@case(
    ("root", "root", {"root": 1}),
    ("timestamp", "timestamp", {"root": 2}),
    ("snapshot", "snapshot", {"root": 2, "timestamp": 2}),
    ("targets", "targets", {"root": 2, "timestamp": 2, "snapshot": 2}),
)
def test_unsigned_metadata(t, role, kept):
    """The walk ends at the first document that is not signed; what came before it is kept."""
    t.repo.signers[role].clear()
    t.repo.publish("root", "targets", "snapshot", "timestamp")
    assert t.init()
    assert not t.refresh()
    assert t.roles() == kept, t.roles()


@case(
    ("root", "root", {"root": 1}),
    ("snapshot", "snapshot", {"root": 2, "timestamp": 2}),
    ("targets", "targets", {"root": 2, "timestamp": 2, "snapshot": 2}),
)
def test_url_and_metadata_version_mismatch(t, role, kept):
    """A document says another version than the name it is served under and its parent."""
    t.repo.said[role].signed.version += 1
    t.repo.publish("root", "targets", "snapshot", "timestamp")
    if role != "root":
        parent = "timestamp" if role == "snapshot" else "snapshot"
        pin = t.repo.timestamp.snapshot_meta if role == "snapshot" else t.repo.snapshot.meta["targets.json"]
        pin.version = 2
        t.repo.published[parent][-1] = t.repo.sign(parent)
    assert t.init()
    assert not t.refresh()
    assert t.roles() == kept, t.roles()


@case()
def test_timestamp_content_changes(t):
    """5.4.3.1: the same version again is the document that is trusted already."""
    t.ready()
    t.repo.timestamp.snapshot_meta.version = 100
    t.repo.published["timestamp"].clear()
    t.repo.publish("timestamp", bump=False)
    assert t.refresh(), t.said
    assert t.repo.asked[-1] == ("timestamp", None)
    assert json.loads(t.kept("timestamp"))["signed"]["meta"]["snapshot.json"]["version"] == 1


@case()
def test_basic_metadata_hash_support(t):
    """5.6.2: a hash that the parent names must be the document's."""
    t.repo.with_hashes = True
    t.repo.publish_all()
    t.ready()
    t.repo.publish("targets")
    t.repo.snapshot.meta["targets.json"].hashes["sha256"] = "46" * 32
    t.repo.publish("snapshot", "timestamp")
    assert not t.refresh()
    assert t.roles() == {"root": 1, "timestamp": 3, "snapshot": 3, "targets": 2}, t.roles()


@case()
def test_snapshot_hash_mismatch(t):
    """5.5.2, the same one floor up."""
    t.repo.with_hashes = True
    t.repo.publish_all()
    t.ready()
    t.repo.publish("snapshot")
    t.repo.timestamp.snapshot_meta.hashes["sha256"] = "46" * 32
    t.repo.publish("timestamp")
    assert not t.refresh()
    assert t.roles()["snapshot"] == 2, t.roles()


@case()
def test_metadata_bytes_match(t):
    """What is kept is what was served, to the last space."""
    t.repo.published["timestamp"][-1] += b" "
    t.ready()
    assert t.kept("timestamp") == t.repo.published["timestamp"][-1]


@case()
def test_custom_fields(t):
    """Section 4: fields nobody knows belong to what is signed."""
    t.ready()
    t.repo.root.unrecognized_fields["custom-field"] = "value"
    t.repo.root.roles["root"].unrecognized_fields["another-field"] = {"a": [1, "two", None]}
    t.repo.publish("root")
    assert t.refresh(), t.said
    assert t.roles()["root"] == 2


@case()
def test_custom_fields_everywhere(t):
    """The same for the documents below the root, and for a target."""
    for role in ("timestamp", "snapshot", "targets"):
        t.repo.said[role].signed.unrecognized_fields["x-unknown"] = {"deep": {"er": True}}
    t.repo.add_file("a", b"a").unrecognized_fields["custom"] = {"what": 1}
    t.repo.publish_all()
    assert t.init()
    assert t.download("a"), t.said
    assert t.downloads() == [b"a"]


@case()
def test_deprecated_keyid_hash_algorithms(t):
    """An old field of keys that the specification does not know says nothing."""
    assert t.init()
    t.repo.drop_keys("snapshot")
    signer = new_signer()
    signer.public_key.unrecognized_fields = {"keyid_hash_algorithms": ["md5"]}
    t.repo.add_key("snapshot", signer)
    t.repo.publish("root", "snapshot", "timestamp")
    assert t.refresh(), t.said
    assert t.roles()["snapshot"] == 2


@case()
def test_snapshot_404(t):
    """The snapshot that the timestamp names is not there."""
    t.ready()
    t.repo.timestamp.snapshot_meta.version += 1
    t.repo.publish("timestamp")
    assert not t.refresh()
    assert t.repo.asked[-1] == ("snapshot", 2)
    assert t.roles() == {"root": 1, "snapshot": 1, "targets": 1, "timestamp": 2}


@case()
def test_targets_404(t):
    """The targets that the snapshot names are not there."""
    t.ready()
    t.repo.snapshot.meta["targets.json"].version += 1
    t.repo.publish("snapshot", "timestamp")
    assert not t.refresh()
    assert t.repo.asked[-1] == ("targets", 2)
    assert t.roles() == {"root": 1, "snapshot": 2, "targets": 1, "timestamp": 2}


@case()
def test_timestamp_404(t):
    """Without a timestamp nothing is fresh."""
    t.ready()
    t.repo.published["timestamp"].clear()
    assert not t.refresh()
    assert t.repo.asked[-1] == ("timestamp", None)


@case()
def test_incorrect_metadata_type(t):
    """A snapshot that the timestamp's key has signed too is no timestamp."""
    assert t.init()
    t.repo.add_key("snapshot", t.repo.signers["timestamp"][0])
    t.repo.snapshot.meta = {"snapshot.json": MetaFile(1)}
    t.repo.publish("root", "snapshot")
    t.repo.published["timestamp"].append(t.repo.published["snapshot"].pop())
    assert not t.refresh()
    assert t.roles() == {"root": 2}, t.roles()


@case()
def test_without_consistent_snapshots(t):
    """6.2: names carry no versions and no hashes then."""
    t.repo.root.consistent_snapshot = False
    t.repo.add_file("a", b"a")
    t.repo.publish("root", "targets", "snapshot", "timestamp")
    assert t.init()
    assert t.download("a"), t.said
    assert t.repo.asked == [("root", 2), ("root", 3), ("timestamp", None), ("snapshot", None), ("targets", None)]
    assert t.repo.fetched == [("a", None)]


@case()
def test_root_chain_is_walked_one_by_one(t):
    """5.3.3: every root between the first and the newest, in order."""
    for _ in range(5):
        old = t.repo.signers["root"][0]
        t.repo.rotate_key("root")
        t.repo.signers["root"].append(old)
        t.repo.publish("root")
        t.repo.signers["root"].pop()
    assert t.init()
    assert t.refresh(), t.said
    assert t.repo.asked[:6] == [("root", version) for version in range(2, 8)], t.repo.asked
    assert t.roles()["root"] == 6


@case(
    ("root", "root", 512_000), ("timestamp", "timestamp", 16_384),
    ("snapshot", "snapshot", 2_000_000), ("targets", "targets", 5_000_000),
)
def test_endless_data(t, role, limit):
    """5.3.3, 5.4.1: what has no length above it is read up to a limit of the client's own."""
    t.ready()
    before = t.roles()
    t.repo.said[role].signed.unrecognized_fields["ballast"] = "x" * (limit + 1)
    t.repo.publish("root", "targets", "snapshot", "timestamp")
    assert not t.refresh()
    assert t.roles()[role] == before[role]


@case()
def test_faketime(t):
    """The other cases about time mean something: the client sees the clock it is given."""
    assert t.init()
    t.repo.root.expires = days(7)
    t.repo.publish("root")
    assert t.refresh(), t.said
    assert not t.refresh(at=days(8))
