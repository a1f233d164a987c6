"""Versions never fall (5.4.3, 5.5.5, 5.6.5), and keys that are rotated lead out of a fast-forward (5.3.11)."""

from trial import case


@case()
def test_simple_snapshot_rollback(t):
    """The snapshot falls, the timestamp does not say so: the one that is kept is the one that is named."""
    assert t.init()
    t.repo.publish("snapshot", "timestamp")
    assert t.refresh(), t.said
    t.repo.snapshot.version = 1
    t.repo.published["snapshot"][-1] = t.repo.sign("snapshot")
    assert t.refresh(), t.said
    assert t.roles()["snapshot"] == 2
    assert t.repo.asked[-1] == ("timestamp", None)


@case()
def test_new_timestamp_version_rollback(t):
    """5.4.3.1."""
    assert t.init()
    t.repo.publish("timestamp")
    assert t.refresh(), t.said
    t.repo.published["timestamp"].pop()
    assert not t.refresh()
    assert t.roles()["timestamp"] == 2
    assert t.repo.asked[-1] == ("timestamp", None)


@case(("basic", False), ("with hashes", True))
def test_snapshot_rollback(t, with_hashes):
    """5.4.3.2: the timestamp names an older snapshot."""
    t.repo.with_hashes = with_hashes
    assert t.init()
    t.repo.publish("snapshot", "timestamp")
    assert t.refresh(), t.said
    t.repo.published["snapshot"].clear()
    t.repo.snapshot.version = 1
    t.repo.publish("snapshot", bump=False)
    t.repo.publish("timestamp")
    assert not t.refresh()
    assert t.roles()["timestamp"] == 2 and t.roles()["snapshot"] == 2
    assert t.repo.asked[-1] == ("timestamp", None)


@case(("basic", False), ("with hashes", True))
def test_targets_rollback(t, with_hashes):
    """5.5.5: the snapshot names older targets."""
    t.repo.with_hashes = with_hashes
    assert t.init()
    t.repo.publish("targets")
    t.repo.publish_all()
    assert t.refresh(), t.said
    assert t.roles()["targets"] == 3
    t.repo.published["targets"].clear()
    t.repo.targets.version = 1
    t.repo.publish("targets", bump=False)
    t.repo.publish("snapshot", "timestamp")
    assert not t.refresh()
    assert t.roles()["targets"] == 3 and t.roles()["snapshot"] == 2, t.roles()


@case()
def test_delegated_role_vanishes(t):
    """5.5.5: a role that the snapshot has named must stay in it."""
    assert t.init()
    t.repo.delegate("targets", "A")
    t.repo.publish_all("A")
    assert t.refresh(), t.said
    del t.repo.snapshot.meta["A.json"]
    t.repo.publish("snapshot", "timestamp")
    assert not t.refresh()
    assert t.roles()["snapshot"] == 2


@case()
def test_delegated_role_rollback(t):
    """5.5.5: nor does its version fall."""
    assert t.init()
    t.repo.delegate("targets", "A")
    t.repo.publish_all("A")
    t.repo.publish("A", "snapshot", "timestamp")
    assert t.refresh(), t.said
    t.repo.snapshot.meta["A.json"].version = 1
    t.repo.publish("snapshot", "timestamp")
    assert not t.refresh()
    assert t.roles()["snapshot"] == 3


@case()
def test_new_snapshot_version_mismatch(t):
    """5.5.4: the snapshot says another version than the timestamp."""
    assert t.init()
    t.repo.timestamp.snapshot_meta.version = 2
    t.repo.published["timestamp"][-1] = t.repo.sign("timestamp")
    t.repo.published["snapshot"].append(t.repo.published["snapshot"][0])
    assert not t.refresh()
    assert t.roles() == {"root": 1, "timestamp": 1}
    assert t.repo.asked[-1] == ("snapshot", 2)


@case()
def test_new_targets_version_mismatch(t):
    """5.6.4, the same one floor down."""
    t.ready()
    t.repo.snapshot.meta["targets.json"].version = 2
    t.repo.published["targets"].append(t.repo.published["targets"][0])
    t.repo.publish("snapshot", "timestamp")
    assert not t.refresh()
    assert t.roles()["targets"] == 1


@case()
def test_new_timestamp_fast_forward_recovery(t):
    """5.3.11: another timestamp key, and its version may fall."""
    assert t.init()
    t.repo.timestamp.version = 100
    t.repo.published["timestamp"][-1] = t.repo.sign("timestamp")
    assert t.refresh(), t.said
    assert t.roles()["timestamp"] == 100
    t.repo.rotate_key("timestamp")
    t.repo.timestamp.version = 1
    t.repo.publish("timestamp", bump=False)
    t.repo.publish("root")
    assert t.refresh(), t.said
    assert t.roles()["timestamp"] == 1


@case()
def test_new_snapshot_fast_forward_recovery(t):
    """5.3.11: other keys for snapshot and timestamp, and the snapshot's version may fall."""
    assert t.init()
    t.repo.snapshot.version = 99_999
    t.repo.published["snapshot"] = [b""] * 99_998
    t.repo.publish("snapshot", bump=False)
    t.repo.publish("timestamp")
    assert t.refresh(), t.said
    assert t.roles()["snapshot"] == 99_999
    t.repo.rotate_key("snapshot")
    t.repo.rotate_key("timestamp")
    t.repo.published["snapshot"].clear()
    t.repo.snapshot.version = 1
    t.repo.publish("snapshot", bump=False)
    t.repo.publish("timestamp", "root")
    assert t.refresh(), t.said
    assert t.roles()["snapshot"] == 1


@case()
def test_new_targets_fast_forward_recovery(t):
    """5.3.11: another snapshot key, and the version of targets may fall although their own keys stay."""
    assert t.init()
    t.repo.published["targets"] = [b""] * 99
    t.repo.targets.version = 100
    t.repo.publish("targets", bump=False)
    t.repo.publish("snapshot", "timestamp")
    assert t.refresh(), t.said
    assert t.roles()["targets"] == 100
    t.repo.rotate_key("snapshot")
    t.repo.published["targets"].clear()
    t.repo.targets.version = 2
    t.repo.published["targets"] = [b""]
    t.repo.publish("targets", bump=False)
    t.repo.publish("snapshot", "timestamp", "root")
    assert t.refresh(), t.said
    assert t.roles()["targets"] == 2


@case()
def test_root_version_skips(t):
    """5.3.5: the next root is exactly one above the last."""
    assert t.init()
    t.repo.root.version = 3
    t.repo.published["root"].append(t.repo.sign("root"))
    assert not t.refresh()
    assert t.roles() == {"root": 1}


@case()
def test_root_version_repeats(t):
    """5.3.5: the same root under the next name is no next root."""
    assert t.init()
    t.repo.published["root"].append(t.repo.published["root"][0])
    assert not t.refresh()
    assert t.roles() == {"root": 1}


@case()
def test_rollback_after_a_rotated_key(t):
    """What the old key has signed is not believed under the new one, nor is what fell since."""
    assert t.init()
    t.repo.publish("timestamp")
    assert t.refresh(), t.said
    signed_by_old = t.repo.published["timestamp"][-1]
    t.repo.rotate_key("timestamp")
    t.repo.publish("timestamp", "root")
    assert t.refresh(), t.said
    first_of_new = t.repo.published["timestamp"][-1]
    t.repo.publish("timestamp")
    assert t.refresh(), t.said
    for old in (signed_by_old, first_of_new):
        t.repo.published["timestamp"].append(old)
        assert not t.refresh()
        assert t.roles()["timestamp"] == 4


@case(("timestamp", "timestamp"), ("snapshot", "snapshot"), ("targets", "targets"), ("all of them", None))
def test_rollback_with_a_torn_store(t, torn):
    """A kept document of no length, as a power cut leaves it, opens no way back."""
    assert t.init()
    before = {role: list(t.repo.published[role]) for role in ("timestamp", "snapshot", "targets")}
    t.repo.publish_all()
    assert t.refresh(), t.said
    t.repo.published.update(before)
    for role in [torn] if torn else list(before):
        (t.trusted / f"{role}.json").write_bytes(b"")
    assert not t.refresh()
    assert not t.refresh()
