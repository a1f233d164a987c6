"""Expiry (the freeze attack of 5.3.10, 5.4.4, 5.5.6, 5.6.6): never believed once it is past, whoever keeps it."""

from repository import days
from trial import case


@case()
def test_root_expired(t):
    """5.3.10: an expired root is kept, and the walk ends there."""
    t.ready()
    t.repo.root.expires = days(-1)
    t.repo.publish("root", "targets", "snapshot", "timestamp")
    assert not t.refresh()
    assert t.roles() == {"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1}, t.roles()


@case()
def test_expired_root_on_the_way(t):
    """An expired root does no harm if a newer one has not expired."""
    assert t.init()
    t.repo.root.expires = days(-1)
    t.repo.publish("root")
    t.repo.root.expires = t.repo.expiry
    t.repo.publish("root")
    assert t.refresh(), t.said
    assert t.roles()["root"] == 3


@case(
    ("timestamp", "timestamp", {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1}),
    ("snapshot", "snapshot", {"root": 1, "timestamp": 2, "snapshot": 1, "targets": 1}),
    ("targets", "targets", {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 1}),
)
def test_expired(t, role, kept):
    """A newer document that has expired is not taken."""
    t.ready()
    t.repo.said[role].signed.expires = days(-5)
    t.repo.publish_all()
    assert not t.refresh()
    assert t.roles() == kept, t.roles()


@case(("root", "root"), ("timestamp", "timestamp"), ("snapshot", "snapshot"), ("targets", "targets"))
def test_expired_local(t, role):
    """What was good when it was kept is not believed after its end, although the repository has nothing newer."""
    t.repo.said[role].signed.expires = days(7)
    t.repo.publish("root", "targets", "snapshot", "timestamp")
    t.ready()
    assert t.refresh(at=days(6)), t.said
    assert not t.refresh(at=days(8))


@case()
def test_expired_local_metadata_still_guards(t):
    """Kept metadata that has expired still serves to compare versions with, and newer metadata is taken."""
    t.repo.timestamp.expires = t.repo.snapshot.expires = days(7)
    t.repo.publish("snapshot", "timestamp")
    t.ready()
    t.repo.timestamp.expires = t.repo.snapshot.expires = days(21)
    t.repo.publish_all()
    assert t.refresh(at=days(18)), t.said
    assert t.roles() == {"root": 1, "timestamp": 3, "snapshot": 3, "targets": 2}, t.roles()
    t.repo.timestamp.version = 1
    t.repo.publish("timestamp")
    assert not t.refresh(at=days(22))
    assert t.roles()["timestamp"] == 3


@case(("in the past", -20_000), ("in the future", 20_000))
def test_expiry_at_the_ends_of_time(t, offset):
    """A clock that is fifty years off believes or not, and never breaks."""
    assert t.init()
    assert t.refresh(at=days(offset)) == (offset < 0)


@case()
def test_delegated_targets_expired(t):
    """A delegated role that has expired names nothing."""
    assert t.init()
    t.repo.delegate("targets", "delegated", ["delegatedpath/*"], expires=days(-1))
    t.repo.add_file("delegatedpath/target", b"delegated content", "delegated")
    t.repo.publish_all("delegated")
    assert t.refresh(), t.said
    assert not t.download("delegatedpath/target")
    assert t.downloads() == []
    assert t.roles() == {"root": 1, "timestamp": 2, "snapshot": 2, "targets": 2}


@case()
def test_expired_local_delegated_targets(t):
    """Nor does one that was good when it was kept."""
    assert t.init()
    t.repo.delegate("targets", "delegated", ["delegatedpath/*"], expires=days(7))
    t.repo.add_file("delegatedpath/first", b"first", "delegated")
    t.repo.add_file("delegatedpath/second", b"second", "delegated")
    t.repo.publish_all("delegated")
    assert t.download("delegatedpath/first"), t.said
    assert not t.download("delegatedpath/second", at=days(18))
    assert t.downloads() == [b"first"]


@case()
def test_expired_local_delegated_targets_updates(t):
    """A newer one that has not expired is taken."""
    assert t.init()
    t.repo.delegate("targets", "delegated", ["delegatedpath/*"], expires=days(7))
    t.repo.add_file("delegatedpath/first", b"first", "delegated")
    t.repo.add_file("delegatedpath/second", b"second", "delegated")
    t.repo.publish_all("delegated")
    assert t.download("delegatedpath/first"), t.said
    t.repo.delegated.expires = days(21)
    t.repo.publish("delegated", "snapshot", "timestamp")
    assert t.download("delegatedpath/second", at=days(18)), t.said
    assert t.downloads() == [b"first", b"second"]
