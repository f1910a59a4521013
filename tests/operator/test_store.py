"""The store: newest wins, one's own writes are seen, a list says what is gone."""

from typing import Any

import pytest

from finetune_operator.store import Store, version_of


def body(name: str, version: int, value: str = "", uid: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid or name, "resourceVersion": str(version)}, "value": value}


class Kept:
    """A store of (name, value), and the changes it told of."""

    def __init__(self) -> None:
        self.changes: list[tuple[Any, Any]] = []
        self.store: Store[tuple[str, str]] = Store(
            lambda found: None if found["value"] == "odd" else (found["metadata"]["name"], found["value"]),
            {"name": lambda view: view[0], "value": lambda view: view[1]},
            lambda old, new: self.changes.append((old, new)),
        )


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_only_what_is_newer_counts(kept: Kept) -> None:
    kept.store.put(body("a", 5, "new"))
    kept.store.put(body("a", 4, "old"))
    kept.store.put(body("a", 5, "same"))
    assert list(kept.store) == [("a", "new")]
    assert kept.changes == [(None, ("a", "new"))]


def test_a_change_that_the_view_does_not_show_wakes_nobody(kept: Kept) -> None:
    kept.store.put(body("a", 1, "x"))
    kept.store.put(body("a", 2, "x"))
    assert len(kept.changes) == 1
    kept.store.put(body("a", 1, "y"))
    assert list(kept.store) == [("a", "x")]  # the newer version was noted all the same


def test_indexes_follow(kept: Kept) -> None:
    kept.store.put(body("a", 1, "x"))
    kept.store.put(body("b", 2, "x"))
    assert sorted(kept.store.by("value", "x")) == [("a", "x"), ("b", "x")]
    kept.store.put(body("a", 3, "y"))
    assert kept.store.by("value", "x") == [("b", "x")]
    kept.store.drop("b")
    assert kept.store.by("value", "x") == []
    assert kept.store.one("value", "y") == ("a", "y")
    assert kept.store.one("value", "x") is None


def test_the_answer_to_a_write_is_there_before_the_watch_brings_it(kept: Kept) -> None:
    kept.store.reach(9)
    kept.store.answer(body("a", 10, "made"))
    assert list(kept.store) == [("a", "made")]
    kept.store.put(body("a", 10, "made"))
    assert len(kept.changes) == 1


def test_an_answer_that_the_watch_has_overtaken_is_dropped(kept: Kept) -> None:
    kept.store.put(body("a", 10, "x"))
    kept.store.drop("a")
    kept.store.reach(11)  # the event that said so
    kept.store.answer(body("a", 10, "x"))
    assert not len(kept.store)


def test_a_list_that_began_before_a_deletion_does_not_bring_the_object_back(kept: Kept) -> None:
    kept.store.put(body("a", 10, "x"))
    kept.store.drop("a", 12)
    kept.store.put(body("a", 10, "x"))
    kept.store.put(body("a", 11, "y"))
    assert not len(kept.store)
    kept.store.put(body("a", 13, "its label is back, and so the selector finds it again"))
    assert len(kept.store) == 1


def test_an_answer_may_be_for_known_objects_only(kept: Kept) -> None:
    kept.store.answer(body("a", 10, "x"), new=False)
    assert not len(kept.store)
    kept.store.put(body("a", 11, "x"))
    kept.store.answer(body("a", 12, "y"), new=False)
    assert list(kept.store) == [("a", "y")]


def test_a_list_says_what_is_gone_but_not_what_was_made_after_it(kept: Kept) -> None:
    for number, name in enumerate("abc", start=1):
        kept.store.put(body(name, number))
    kept.store.answer(body("d", 30))
    kept.store.keep_only({"b"}, 20)
    assert sorted(name for name, _ in kept.store) == ["b", "d"]


def test_a_list_of_one_namespace_says_nothing_of_others(kept: Kept) -> None:
    kept.store.put(body("a", 1), "left")
    kept.store.put(body("b", 2), "right")
    kept.store.keep_only(set(), 5, "left")
    assert list(kept.store) == [("b", "")]


def test_a_namesake_that_came_after_is_another_object(kept: Kept) -> None:
    kept.store.put(body("a", 1, "old", uid="1"))
    kept.store.put(body("a", 5, "new", uid="2"))
    assert kept.store.one("name", "a") == ("a", "new")
    kept.store.drop("1")
    assert kept.store.one("name", "a") == ("a", "new")


def test_what_is_no_longer_of_interest_goes(kept: Kept) -> None:
    kept.store.put(body("a", 1, "x"))
    kept.store.put(body("a", 2, "odd"))
    assert not len(kept.store)
    assert kept.changes[-1] == (("a", "x"), None)


@pytest.mark.parametrize(
    ("version", "number"), [("12", 12), ("", 0), (None, 0), ("x", 0), (7, 7), ("-1", 0), ("²", 0)]
)
def test_versions_are_numbers_or_nothing(version: object, number: int) -> None:
    assert version_of({"metadata": {"resourceVersion": version}}) == number
