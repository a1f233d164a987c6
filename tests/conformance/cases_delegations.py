"""The search through delegations (5.6.7): which roles are asked, in which order, and whose word counts."""

import hashlib

from repository import new_signer
from trial import case

ALL = ("*",)
PY = ("*.py",)


def edge(delegator, role, paths=ALL, terminating=False):
    """One delegation."""
    return delegator, role, paths, terminating


GRAPHS = [
    ("basic-delegation", [edge("targets", "A")], "A"),
    ("single-level-delegations", [edge("targets", "A"), edge("targets", "B")], "AB"),
    ("two-level-delegations", [edge("targets", "A"), edge("targets", "B"), edge("B", "C")], "ABC"),
    ("two-level-test-DFS-order-of-traversal",
     [edge("targets", "A"), edge("targets", "B"), edge("A", "C"), edge("A", "D")], "ACDB"),
    ("three-level-delegation-test-DFS-order-of-traversal",
     [edge("targets", "A"), edge("targets", "B"), edge("A", "C"), edge("C", "D")], "ACDB"),
    ("two-level-terminating-ignores-all-but-roles-descendants",
     [edge("targets", "A"), edge("targets", "B"), edge("A", "C", terminating=True), edge("A", "D")], "AC"),
    ("three-level-terminating-ignores-all-but-roles-descendants",
     [edge("targets", "A"), edge("targets", "B"), edge("A", "C", terminating=True), edge("C", "D")], "ACD"),
    ("two-level-ignores-all-branches-not-matching-paths",
     [edge("targets", "A", PY), edge("targets", "B"), edge("A", "C")], "B"),
    ("three-level-ignores-all-branches-not-matching-paths",
     [edge("targets", "A"), edge("targets", "B"), edge("A", "C", PY), edge("C", "D")], "AB"),
    ("cyclic-graph",
     [edge("targets", "A"), edge("targets", "B"), edge("B", "C"), edge("C", "D"), edge("D", "B")], "ABCD"),
    ("two-roles-delegating-to-a-third",
     [edge("targets", "A"), edge("targets", "B"), edge("B", "C"), edge("A", "C")], "ACB"),
    ("two-roles-delegating-to-a-third-different-paths",
     [edge("targets", "A"), edge("targets", "B"), edge("B", "C"), edge("A", "C", PY)], "ABC"),
]


def build(t, edges):
    """A repository with these delegations; roles in the order in which they are named."""
    for delegator, role, paths, terminating in edges:
        t.repo.delegate(delegator, role, paths, terminating)
    return list(dict.fromkeys(role for _, role, _, _ in edges))


@case(*GRAPHS)
def test_graph_traversal(t, edges, order):
    """Pre-order, depth first, in the order in which a role names its delegations."""
    assert t.init()
    t.repo.publish_all(*build(t, edges))
    assert not t.download("missingpath")
    assert t.repo.asked[4:] == [(role, 1) for role in order], t.repo.asked


TREE = [
    edge("targets", "A", ("*.doc", "*.md")), edge("targets", "B", ("releases/*/*",)),
    edge("B", "C", ("releases/x/*",)), edge("B", "D", ("releases/y/*.zip",)),
]
FILES = [
    ("targets", "targetfile", b"of targets"), ("A", "README.md", b"of A"), ("C", "releases/x/x_v1", b"of C"),
    ("D", "releases/y/y_v1.zip", b"of D"), ("D", "releases/z/z_v1.zip", b"not to be named by D"),
]


@case(
    ("no delegations", "targetfile", b"of targets", ""),
    ("targetpath matches wildcard", "README.md", b"of A", "A"),
    ("targetpath with separators x", "releases/x/x_v1", b"of C", "BC"),
    ("targetpath with separators y", "releases/y/y_v1.zip", b"of D", "BD"),
    ("targetpath is not delegated by all roles in the chain", "releases/z/z_v1.zip", None, "B"),
)
def test_targetfile_search(t, name, data, order):
    """A role's word counts for the names that were handed to it all the way down."""
    assert t.init()
    roles = build(t, TREE)
    for role, path, contents in FILES:
        t.repo.add_file(path, contents, role)
    t.repo.publish_all(*roles)
    assert t.download(name) == (data is not None), t.said
    assert t.downloads() == ([data] if data else [])
    assert t.repo.asked[4:] == [(role, 1) for role in order], t.repo.asked


@case(
    ("star does not cross a slash", "*.zip", "dir/a.zip", False), ("one star per level", "*/*.zip", "dir/a.zip", True),
    ("question mark is one letter", "a?.zip", "ab.zip", True), ("not two", "a?.zip", "abc.zip", False),
    ("case counts", "A.zip", "a.zip", False), ("the whole name", "a", "ab", False),
)
def test_path_patterns(t, pattern, name, matches):
    """Section 4.5: shell patterns, level by level."""
    assert t.init()
    t.repo.delegate("targets", "A", [pattern])
    t.repo.add_file(name, b"contents", "A")
    t.repo.publish_all("A")
    assert t.download(name) == matches, t.said


@case(("of this name", True), ("of another name", False))
def test_path_hash_prefixes(t, matches):
    """Section 4.5: names handed out by the beginning of their hash."""
    assert t.init()
    digest = hashlib.sha256(b"bar").hexdigest()
    prefix = digest[:2] if matches else ("00" if digest[:2] != "00" else "01")
    t.repo.delegate("targets", "bin", prefixes=[prefix])
    t.repo.add_file("bar", b"contents", "bin")
    t.repo.publish_all("bin")
    assert t.download("bar") == matches, t.said


@case()
def test_delegated_role_below_its_threshold(t):
    """Signed by a stranger: not believed, not kept."""
    assert t.init()
    t.repo.delegate("targets", "A")
    t.repo.add_file("a", b"contents", "A")
    t.repo.signers["A"] = [new_signer()]
    t.repo.publish_all("A")
    assert not t.download("a")
    assert "A" not in t.roles() and t.downloads() == []


@case()
def test_delegated_role_not_in_snapshot(t):
    """What the snapshot does not name is not part of the repository."""
    assert t.init()
    t.repo.delegate("targets", "A")
    t.repo.add_file("a", b"contents", "A")
    t.repo.publish("A")
    del t.repo.snapshot.meta["A.json"]
    t.repo.publish_all()
    assert not t.download("a")
    assert t.downloads() == []


@case()
def test_delegated_version_mismatch(t):
    """5.6.4 for a delegated role."""
    assert t.init()
    t.repo.delegate("targets", "A")
    t.repo.add_file("a", b"contents", "A")
    t.repo.publish("A")
    t.repo.snapshot.meta["A.json"].version = 2
    t.repo.published["A"].append(t.repo.published["A"][0])
    t.repo.publish_all()
    assert not t.download("a")
    assert "A" not in t.roles()


@case()
def test_cached_role_is_verified_against_current_delegator(t):
    """A role that one delegator vouched for is not believed on the word of another that names other keys."""
    assert t.init()
    t.repo.delegate("targets", "A", ["first"])
    t.repo.delegate("targets", "B", ["second"])
    t.repo.delegate("A", "C", ["first"])
    t.repo.delegate("B", "C", ["second"])
    t.repo.B.delegations.roles["C"].keyids.clear()
    t.repo.B.add_key(new_signer().public_key, "C")
    t.repo.add_file("first", b"by A and C", "C")
    t.repo.add_file("second", b"by nobody", "C")
    t.repo.publish_all("A", "B", "C")
    assert not t.download("first", "second")
    assert t.downloads() == [b"by A and C"], t.downloads()


@case()
def test_first_role_that_names_a_target_counts(t):
    """5.6.7.3: the search ends at the first."""
    assert t.init()
    t.repo.delegate("targets", "A")
    t.repo.delegate("targets", "B")
    t.repo.add_file("a", b"of B", "B")
    t.repo.add_file("a", b"of A", "A")
    t.repo.publish_all("A", "B")
    assert t.download("a"), t.said
    assert t.downloads() == [b"of A"]
    assert t.repo.asked[4:] == [("A", 1)]
