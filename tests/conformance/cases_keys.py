"""Who must sign: thresholds, kinds of keys, and every way of rotating them (5.3.4)."""

import copy
import json

from repository import new_signer
from securesystemslib.formats import encode_canonical
from trial import case


@case()
def test_snapshot_does_not_meet_threshold(t):
    """Two of the three signatures that are needed."""
    t.repo.root.roles["snapshot"].threshold = 3
    t.repo.add_key("snapshot")
    t.repo.add_key("snapshot")
    t.repo.publish("root", "targets", "snapshot", "timestamp")
    t.ready()
    t.repo.signers["snapshot"].pop()
    t.repo.publish_all()
    assert not t.refresh()
    assert t.roles()["snapshot"] == 2


@case()
def test_snapshot_has_too_few_keys(t):
    """A threshold that the keys cannot reach."""
    assert t.init()
    for _ in range(4):
        t.repo.add_key("snapshot")
    t.repo.root.roles["snapshot"].threshold = 6
    t.repo.publish("root", "snapshot", "timestamp")
    assert not t.refresh()
    assert "snapshot" not in t.roles()


@case(("targets", "targets"), ("timestamp", "timestamp"), ("root", "root"))
def test_threshold_zero(t, role):
    """Nothing is believed under a root that asks for no signature at all. python-tuf refuses to write one."""
    t.ready()
    signers = t.repo.signers["root"]
    document = json.loads(t.repo.published["root"][0])
    document["signed"]["version"] = 2
    document["signed"]["roles"][role]["threshold"] = 0
    data = encode_canonical(document["signed"]).encode()
    document["signatures"] = [{"keyid": s.public_key.keyid, "sig": s.sign(data).signature} for s in signers]
    t.repo.published["root"].append(json.dumps(document).encode())
    if role != "root":
        t.repo.signers[role].clear()
    t.repo.publish_all()
    assert not t.refresh()
    assert t.roles()[role] == 1


@case()
def test_duplicate_keys(t):
    """One key named nine times, and its signature nine times."""
    assert t.init()
    signer = new_signer()
    t.repo.add_key("snapshot", signer)
    t.repo.root.roles["snapshot"].threshold = 6
    t.repo.root.roles["snapshot"].keyids.extend([signer.public_key.keyid] * 8)
    t.repo.publish("root", "snapshot", "timestamp")
    t.repo.rewrite("snapshot", lambda document: document["signatures"].extend([document["signatures"][-1]] * 8))
    assert not t.refresh()
    assert "snapshot" not in t.roles()


@case()
def test_same_key_under_two_ids(t):
    """One key under two names counts once."""
    assert t.init()
    signer = t.repo.signers["snapshot"][0]
    twin = copy.copy(signer)
    twin.__dict__["_public_key" if "_public_key" in twin.__dict__ else "public_key"] = copy.deepcopy(signer.public_key)
    twin.public_key.keyid = "f" * 64
    t.repo.root.add_key(twin.public_key, "snapshot")
    t.repo.signers["snapshot"].append(twin)
    t.repo.root.roles["snapshot"].threshold = 2
    t.repo.publish("root", "snapshot", "timestamp")
    assert not t.refresh()


@case()
def test_duplicate_sig_keyids(t):
    """Section 4.2.1: a key id stands once among the signatures."""
    assert t.init()
    t.repo.rewrite("snapshot", lambda document: document["signatures"].append(document["signatures"][0]))
    assert not t.refresh()
    assert "snapshot" not in t.roles()


@case(
    ("rsa/rsassa-pss-sha256", "rsa", "rsassa-pss-sha256"),
    ("ecdsa/ecdsa-sha2-nistp256", "ecdsa", "ecdsa-sha2-nistp256"),
    ("ed25519/ed25519", "ed25519", "ed25519"),
)
def test_keytype_and_scheme(t, keytype, scheme):
    """Keys of every kind that the specification names; one wrong digit in a signature is one too many."""
    assert t.init()
    signer = t.repo.add_key("root", new_signer(keytype, scheme))
    t.repo.root.roles["root"].threshold += 1
    t.repo.publish("root")
    assert t.refresh(), t.said
    assert t.roles()["root"] == 2
    t.repo.publish("root")

    def spoil(document):
        for signature in document["signatures"]:
            if signature["keyid"] == signer.public_key.keyid:
                last = "0" if signature["sig"][-1] != "0" else "1"
                signature["sig"] = signature["sig"][:-1] + last

    t.repo.rewrite("root", spoil)
    assert not t.refresh()
    assert t.roles()["root"] == 2


@case()
def test_invalid_sig_in_valid_metadata(t):
    """A wrong or an empty signature beside enough good ones does no harm."""
    assert t.init()
    first = t.repo.signers["timestamp"][0].public_key.keyid
    t.repo.add_key("timestamp")
    t.repo.publish("root")
    for wrong in ("00" * 64, ""):
        t.repo.publish("timestamp")

        def spoil(document, wrong=wrong):
            for signature in document["signatures"]:
                if signature["keyid"] == first:
                    signature["sig"] = wrong

        t.repo.rewrite("timestamp", spoil)
        assert t.refresh(), t.said
    assert t.roles()["timestamp"] == 3


@case()
def test_signature_of_a_stranger(t):
    """A signature by a key that the root does not know counts for nothing."""
    t.ready()
    t.repo.signers["timestamp"] = [new_signer()]
    t.repo.publish("timestamp")
    assert not t.refresh()
    assert t.roles()["timestamp"] == 1


@case()
def test_signature_of_another_role(t):
    """Nor does one by a key that the root knows for another role."""
    t.ready()
    t.repo.signers["targets"] = t.repo.signers["snapshot"]
    t.repo.publish_all()
    assert not t.refresh()
    assert t.roles()["targets"] == 1


def versions(*steps):
    """Roots one after the other: (keys, threshold, signers)."""
    return steps


ROOT_ROTATIONS = [
    ("1-of-1-key-rotation", True, versions(([1], 1, [1]), ([2], 1, [2, 1]), ([2], 1, [2]))),
    ("1-of-1-key-rotation-unused-signatures", True,
     versions(([1], 1, [3, 1, 4]), ([2], 1, [3, 2, 1, 4]), ([2], 1, [3, 2, 4]))),
    ("3-of-5-sign-with-different-keycombos", True,
     versions(([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 2, 3, 4], 3, [0, 4, 1]),
              ([0, 1, 2, 3, 4], 3, [0, 1, 3]), ([0, 1, 2, 3, 4], 3, [1, 2, 3]))),
    ("3-of-5-one-key-rotated", True, versions(([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 1]))),
    ("3-of-5-one-key-rotated-with-intermediate-step", True,
     versions(([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 2, 4, 5]), ([0, 1, 3, 4, 5], 3, [0, 4, 5]))),
    ("3-of-5-all-keys-rotated-with-intermediate-step", True,
     versions(([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]),
              ([5, 6, 7, 8, 9], 3, [5, 6, 7]))),
    ("1-of-3-threshold-increase-to-2-of-3", True, versions(([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [1, 2]))),
    ("2-of-3-threshold-decrease-to-1-of-3", True,
     versions(([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1, 2]), ([1, 2, 3], 1, [1]))),
    ("1-of-2-threshold-increase-to-2-of-2", True, versions(([1], 1, [1]), ([1, 2], 2, [1, 2]))),
    ("1-of-1-key-rotation-fail-not-signed-with-old-key", False, versions(([1], 1, [1]), ([2], 1, [2, 3, 4]))),
    ("1-of-1-key-rotation-fail-not-signed-with-new-key", False, versions(([1], 1, [1]), ([2], 1, [1, 3, 4]))),
    ("3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys", False,
     versions(([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 2, 4]))),
    ("3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys", False,
     versions(([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 5]))),
    ("1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached", False,
     versions(([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [2]))),
    ("2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-reached", False,
     versions(([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1]))),
]


@case(*ROOT_ROTATIONS)
def test_root_rotation(t, is_good, steps):
    """Each root is signed by the threshold of the one before and by its own."""
    signers = [new_signer() for _ in range(10)]
    t.repo.published["root"].clear()
    for number, (keys, threshold, signed_by) in enumerate(steps, 1):
        t.repo.drop_keys("root")
        for key in keys:
            t.repo.add_key("root", signers[key])
        t.repo.root.roles["root"].threshold = threshold
        t.repo.root.version = number
        t.repo.signers["root"] = [signers[key] for key in signed_by]
        t.repo.publish("root", bump=False)
    assert t.init(), t.said
    assert t.refresh() == is_good, t.said
    assert t.kept("root") == t.repo.published["root"][-1 if is_good else -2]


OTHER_ROTATIONS = [
    ("1-of-1-key-rotation", [2], 1, [2], True),
    ("1-of-1-key-rotation-unused-signatures", [1], 1, [3, 1, 4], True),
    ("1-of-1-key-rotation-fail-not-signed-with-new-key", [2], 1, [1, 3, 4], False),
    ("3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys", [0, 1, 3, 4, 5], 3, [0, 2, 4], False),
    ("2-of-5-one-key-signature-missing-threshold-not-reached", [0, 1, 3, 4, 5], 3, [0, 4], False),
    ("3-of-5-sign-first-combo", [0, 1, 2, 3, 4], 3, [0, 2, 4], True),
    ("3-of-5-sign-second-combo", [0, 1, 2, 3, 4], 3, [0, 4, 1], True),
    ("3-of-5-sign-third-combo", [0, 1, 2, 3, 4], 3, [0, 1, 3], True),
    ("3-of-5-sign-fourth-combo", [0, 1, 2, 3, 4], 3, [1, 2, 3], True),
    ("3-of-5-sign-fifth-combo", [0, 1, 2, 3, 4], 3, [2, 3, 4], True),
]


@case(*OTHER_ROTATIONS)
def test_non_root_rotations(t, keys, threshold, signed_by, is_good):
    """The keys of every other role follow from the newest root at once."""
    signers = [new_signer() for _ in range(10)]
    assert t.init()
    for role in ("timestamp", "snapshot", "targets"):
        t.repo.drop_keys(role)
        for key in keys:
            t.repo.add_key(role, signers[key])
        t.repo.root.roles[role].threshold = threshold
        t.repo.signers[role] = [signers[key] for key in signed_by]
    t.repo.publish("root", "targets", "snapshot", "timestamp")
    assert t.refresh() == is_good, t.said
    assert t.roles()["root"] == 2
    for role in ("timestamp", "snapshot", "targets"):
        assert not is_good or t.kept(role) == t.repo.published[role][-1], role
