"""A store behaves the same on local folders and on S3."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from finetune_api.errors import BadJob, MissingInput
from finetune_store.storage import Store, open_store, split_uri
from s3 import S3, Cut, CuttingProxy


def keys(store: Store, prefix: str = "") -> list[str]:
    return sorted(entry.key for entry in store.list(prefix))


def test_what_is_put_can_be_read_listed_and_deleted(store: Store) -> None:
    store.put("a/b.txt", b"hello")
    store.put("a/b.txt", b"hello again")
    store.put("a/c/d.txt", b"")
    assert store.get("a/b.txt") == b"hello again"
    assert keys(store) == ["a/b.txt", "a/c/d.txt"]
    assert keys(store, "a/c") == ["a/c/d.txt"]
    assert store.folders() == ["a"]
    assert store.folders("a") == ["c"]
    head = store.head("a/b.txt")
    assert head is not None
    assert (head.key, head.size) == ("a/b.txt", 11)
    store.delete("a/b.txt")
    store.delete("a/b.txt")
    assert not store.exists("a/b.txt")
    assert keys(store) == ["a/c/d.txt"]


def test_a_folder_that_is_the_beginning_of_another_name_is_not_mixed_up_with_it(store: Store) -> None:
    store.put("model/1/x", b"")
    store.put("model/10/x", b"")
    assert keys(store, "model/1") == ["model/1/x"]
    store.delete_all("model/1")
    assert keys(store) == ["model/10/x"]


def test_nothing_is_there_before_it_is_written(store: Store) -> None:
    assert keys(store) == []
    assert keys(store, "a") == []
    assert store.folders("a") == []
    assert store.get_versioned("a/b") is None
    assert store.head("a/b") is None
    with pytest.raises(MissingInput, match="a/b does not exist"):
        store.get("a/b")
    with pytest.raises(MissingInput):
        store.copy("a/b", "a/c")


@pytest.mark.parametrize(
    "key",
    [
        "sp ace.txt",
        "üñí/ø.png",
        "a#b",
        "a%41b",
        "a+b",
        "[x]",
        "a&b",
        "q?",
        "a*b",
        "it's",
        "UPPER.PNG",
        "dot..x",
    ],
)
def test_any_name_comes_back_as_it_was(store: Store, key: str) -> None:
    store.put(key, b"1")
    assert keys(store) == [key]
    assert store.get(key) == b"1"


def test_a_range_ends_where_the_object_ends(store: Store) -> None:
    store.put("x", b"0123456789")
    store.put("empty", b"")
    assert store.get_range("x", 2, 3) == b"234"
    assert store.get_range("x", 8, 100) == b"89"
    assert store.get_range("x", 50, 10) == b""
    assert store.get_range("empty", 0, 10) == b""


def test_create_is_won_by_the_first_and_known_to_the_winner(store: Store) -> None:
    assert store.create("x", b"mine")
    assert store.create("x", b"mine"), "the winner asking again after a lost answer"
    assert not store.create("x", b"other")
    assert store.create_or_read("x", b"other") == b"mine"
    assert store.get("x") == b"mine"


def test_compare_and_swap_replaces_only_the_version_it_has_seen(store: Store) -> None:
    assert store.compare_and_swap("x", b"1", None)
    assert not store.compare_and_swap("x", b"2", None)
    found = store.get_versioned("x")
    assert found is not None
    assert store.compare_and_swap("x", b"2", found[1])
    assert store.compare_and_swap("x", b"2", found[1]), "asked again after a lost answer"
    assert not store.compare_and_swap("x", b"3", found[1])
    store.delete("x")
    assert not store.compare_and_swap("x", b"3", found[1])


def test_of_twenty_creators_one_wins(store: Store) -> None:
    barrier = threading.Barrier(20)

    def race(number: int) -> bool:
        barrier.wait()
        return store.create("x", str(number).encode())

    with ThreadPoolExecutor(20) as pool:
        won = list(pool.map(race, range(20)))
    assert won.count(True) == 1
    assert store.get("x") == str(won.index(True)).encode()


def test_no_increment_is_lost_between_eight_swappers(store: Store) -> None:
    store.put("count", b"0")

    def add_five(_: int) -> None:
        for _ in range(5):
            swapped = False
            while not swapped:
                found = store.get_versioned("count")
                assert found is not None
                # The writer's own mark, since equal contents count as one's own.
                count = int(found[0].split()[0]) + 1
                mark = threading.get_ident()
                swapped = store.compare_and_swap("count", f"{count} {mark}".encode(), found[1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add_five, range(8)))
    assert store.get("count").split()[0] == b"40"


def test_a_large_file_goes_up_and_comes_down_in_parts(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * (20 * 2**20 // 256)
    (tmp_path / "up").write_bytes(content)
    store.upload(tmp_path / "up", "deep/down/file")
    store.copy("deep/down/file", "copy")
    store.download("copy", tmp_path / "new/folder/down")
    assert (tmp_path / "new/folder/down").read_bytes() == content
    assert [p.name for p in (tmp_path / "new/folder").iterdir()] == ["down"], "nothing unfinished is left"


def test_a_failed_download_leaves_the_old_file_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(MissingInput):
        store.download("nowhere", tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"old"


def test_writability_is_tried_without_a_trace(store: Store) -> None:
    store.check_writable(".run/a")
    assert keys(store) == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_dropped_connection_in_a_large_upload_is_made_up_for(
    s3: S3, tmp_path: Path, number: int, when: Literal["before", "after"]
) -> None:
    content = bytes(10 * 2**20)
    (tmp_path / "file").write_bytes(content)
    prefix = f"large-{number}-{when}"
    with CuttingProxy(s3.endpoint, Cut(number, when, for_good=False)) as proxy:
        s3.store_at(proxy.endpoint, prefix).upload(tmp_path / "file", "x")
        assert len(proxy.requests) > 4
    assert s3.store(prefix).get("x") == content


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/b/", ("s3", "bucket/a/b")),
        ("gs://bucket", ("gs", "bucket")),
        ("az://container/x", ("az", "container/x")),
        ("file:///data/a%20b", ("file", "/data/a b")),
        ("/data/a%20b", ("file", "/data/a%20b")),
        ("data", ("file", str(Path.cwd() / "data"))),
    ],
)
def test_uris(uri: str, expected: tuple[str, str]) -> None:
    assert split_uri(uri) == expected


@pytest.mark.parametrize("uri", ["http://host/x", "s3://", "s3:///x", "gs:///", "file://host/x", "ftp://x/y"])
def test_other_uris_are_refused_with_the_ones_there_are(uri: str) -> None:
    with pytest.raises(BadJob, match="s3://bucket/path, gs://bucket/path"):
        open_store(uri)


def test_a_link_in_circles_is_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.png").write_bytes(b"1")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "a/nowhere.png").symlink_to(tmp_path / "gone")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "a/x.png")
    assert keys(open_store(str(tmp_path))) == ["a/x.png", "elsewhere"]
