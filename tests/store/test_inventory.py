"""What a folder of images is made of, and when it is refused."""

import io
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from built_tools import ROOT
from finetune_api.errors import BadData, MissingInput
from finetune_store.inventory import BadFile, Inventory, check, check_count, check_usable, inventory
from finetune_store.storage import Store, open_store

MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class Limits:
    """The part of a resolved job that is asked for."""

    max_corrupt_fraction: float = 0.01
    validation_split: float | None = 0.1
    global_batch_size: int = 8


def image(format: str = "PNG", orientation: int = 1) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (8, 6), "red").save(buffer, format, exif=exif)
    return buffer.getvalue()


def fill(store: Store, **counts: int) -> None:
    for name, count in counts.items():
        for number in range(count):
            store.put(f"{name}/{number:03d}.png", image())


def take(store: Store, classes: list[str] | None = None) -> Inventory:
    return inventory(store, 8, MAX_PIXELS, classes)


def test_classes_are_folders_and_labels_their_order(store: Store) -> None:
    store.put("tulips/2019/b.PNG", image())
    store.put("tulips/a.jpg", image("JPEG"))
    store.put("roses/größe 1.jpeg", image("JPEG", orientation=6))
    store.put("Zinnias/x", image("GIF"))
    found = take(store)
    assert found.classes == ["Zinnias", "roses", "tulips"]
    assert [(e.id, e.label) for e in found.examples] == [
        ("Zinnias/x", 0),
        ("roses/größe 1.jpeg", 1),
        ("tulips/2019/b.PNG", 2),
        ("tulips/a.jpg", 2),
    ]
    assert [e.size for e in found.examples] == [len(store.get(e.id)) for e in found.examples]
    assert all(e.etag for e in found.examples)
    assert found.bad == []
    assert found.rotated == 1
    check_usable(found, Limits())


def test_files_that_are_no_images_are_named_with_the_reason(store: Store) -> None:
    fill(store, roses=2)
    store.put("roses/notes.txt", b"hello")
    store.put("roses/empty.png", b"")
    store.put("roses/cut.png", image()[:15])
    store.put("roses/photo.tif", b"II*\0")
    store.put("stray.png", image())
    assert take(store).bad == [
        BadFile("roses/cut.png", "it is not a PNG, JPEG, GIF, BMP or WebP image"),
        BadFile("roses/empty.png", "it is empty"),
        BadFile("roses/notes.txt", "it is not a PNG, JPEG, GIF, BMP or WebP image"),
        BadFile("roses/photo.tif", "it is not a PNG, JPEG, GIF, BMP or WebP image"),
        BadFile("stray.png", "it is not in a class folder"),
    ]


def test_what_systems_leave_lying_around_is_passed_over(store: Store) -> None:
    fill(store, roses=1)
    for key in (
        ".DS_Store",
        "roses/.thumb.png",
        "roses/Thumbs.db",
        ".git/x",
        "__MACOSX/roses/a.png",
        "LICENSE.txt",
    ):
        store.put(key, b"x")
    found = take(store)
    assert (len(found.examples), found.bad, found.classes) == (1, [], ["roses"])


def test_validation_images_have_the_training_classes(store: Store) -> None:
    fill(store, roses=1, weeds=1)
    found = take(store, ["daisies", "roses"])
    assert [(e.id, e.label) for e in found.examples] == [("roses/000.png", 1)]
    assert found.bad == [BadFile("weeds/000.png", "its class is not among the training images")]


def test_progress_is_told_and_the_inventory_travels_as_bytes(store: Store) -> None:
    fill(store, roses=3, tulips=2)
    store.put("tulips/bad.png", b"x")
    ticks: list[tuple[int, int]] = []
    found = inventory(store, 4, MAX_PIXELS, None, lambda done, total: ticks.append((done, total)))
    assert ticks == [(number, 6) for number in range(1, 7)]
    assert Inventory.parse(found.dump()) == found


def test_a_missing_folder_is_missing_input(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="is not a folder"):
        take(open_store(str(tmp_path / "nowhere")))


def test_a_good_folder_passes(store: Store) -> None:
    fill(store, roses=4, tulips=4)
    check(take(store), Limits())
    check_count(8, Limits())


def test_an_empty_folder_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"has no images.* one folder per class") as raised:
        check(take(open_store(str(tmp_path))), Limits())
    assert raised.value.exit_code == 65


def test_one_class_is_bad_data(store: Store) -> None:
    fill(store, roses=4)
    with pytest.raises(BadData, match="images of 1 class: roses"):
        check(take(store), Limits())


def test_too_many_bad_files_are_bad_data_and_ten_of_them_are_named(store: Store) -> None:
    fill(store, roses=4, tulips=4)
    for number in range(12):
        store.put(f"roses/bad-{number:02d}.png", b"not an image")
    found = take(store)
    with pytest.raises(BadData) as raised:
        check(found, Limits())
    message = str(raised.value)
    assert raised.value.reason == "TooManyBadFiles"
    assert "12 of 20 files" in message
    assert "roses/bad-09.png: it is not a PNG" in message
    assert "bad-10" not in message
    assert "and 2 more" in message
    assert "at most 1.0%" in message
    check(found, Limits(max_corrupt_fraction=0.6))


def test_a_class_without_a_usable_image_is_bad_data(store: Store) -> None:
    fill(store, roses=4, tulips=4)
    store.put("weeds/x.png", b"x")
    with pytest.raises(BadData, match="no image of weeds"):
        check(take(store), Limits(max_corrupt_fraction=0.5))


def test_a_single_image_cannot_be_split(store: Store) -> None:
    fill(store, roses=4, tulips=1)
    with pytest.raises(BadData, match="single image of tulips"):
        check(take(store), Limits())
    check(take(store), Limits(validation_split=None))


def test_fewer_images_than_a_batch_are_bad_data() -> None:
    with pytest.raises(BadData, match="7 training images, but globalBatchSize is 8"):
        check_count(7, Limits())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(side: int = 20_000) -> bytes:
    """A real PNG of `side` x `side` grey pixels, 8 bits each."""
    packer = zlib.compressobj(1)
    row = bytes(1 + side)
    data = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_png_of_400_megapixels_is_refused_without_the_memory_for_it(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    fill(store, roses=10, tulips=10)
    store.put("roses/huge.png", huge_png())
    program = (
        "import re, sys\n"
        "from finetune_store.inventory import inventory\n"
        "from finetune_store.storage import open_store\n"
        "def most(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = most()\n"
        "found = inventory(open_store(sys.argv[1]), 8, 50_000_000)\n"
        "print(most() - before, found.bad[0].why)\n"
    )
    path = os.pathsep.join(str(ROOT / name) for name in ("operator", "trainer_image"))
    output = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    kilobytes, _, why = output.partition(" ")
    assert why == "20000 x 20000 = 400 megapixels, above data.maxPixels = 50 million\n"
    assert int(kilobytes) < 50 * 1024
    with pytest.raises(BadData, match=r"roses/huge\.png: 20000 x 20000"):
        check(take(store), Limits())
