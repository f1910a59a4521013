"""The feature cache: the trunk's own values, of this worker's images only, found again or not there."""

import json
import resource
from dataclasses import replace

import keras
import numpy as np
import pytest

import odd_images
import small_networks
from finetune_api import presets
from finetune_api.errors import BadConfiguration
from finetune_api.v1alpha1 import Augmentation
from finetune_trainer import backbone, cache_files, graph
from finetune_trainer.cache_files import Recipe
from finetune_trainer.features import VALIDATION, LiveSource, build_caches
from finetune_trainer.images import ImageFiles, ImageOptions, Images
from finetune_trainer.trunk import FeatureCut, FrozenBackbone, Trunk

SIZE = small_networks.SIZE
VIEWS = 2
OPTIONS = ImageOptions(
    SIZE, max_pixels=100_000, transforms=presets.transforms(Augmentation()), seed=5, threads=2
)
KINDS = [("JPEG", {"quality": 90}), ("PNG", {})]


class Folder:
    """Encoded images by id, and which of them were read."""

    def __init__(self, name: str, count: int, damaged: int) -> None:
        self.contents = {}
        for i in range(count):
            kind, options = KINDS[i % 2]
            image = odd_images.picture(i + 1000 * len(name), 70 + i, 90)
            self.contents[f"{name}/{i:03}"] = odd_images.encoded(image, kind, **options)
        self.contents[f"{name}/{damaged:03}"] = odd_images.truncated()
        self.read: list[str] = []

    def files(self) -> ImageFiles:
        return ImageFiles(sorted(self.contents), self._read)

    def _read(self, name: str) -> bytes:
        self.read.append(name)
        return self.contents[name]


TRAIN, CHECK = Folder("train", 90, damaged=41), Folder("check", 40, damaged=7)
OWN = np.array([i for i in range(90) if i % 2])
OWN_CHECK = np.arange(3, 38)
RECIPE = Recipe(
    backbone=small_networks.NAME,
    weights="w",
    data="d",
    options=OPTIONS,
    views=VIEWS,
    train=OWN,
    validation=OWN_CHECK,
)


@pytest.fixture(scope="module")
def frozen():
    model = small_networks.calibrated_backbone()
    return FrozenBackbone(lambda: model, backbone.preprocess(small_networks.NAME))


@pytest.fixture(scope="module")
def cuts():
    skeleton = graph.skeleton(small_networks.NAME, SIZE, small_networks.ALPHA)
    block = [layer.name for layer in skeleton.layers].index("block_12_add") + 1
    return {
        "head": FeatureCut(graph.find_cut(skeleton, len(skeleton.layers)), pooling="Average"),
        "tail": FeatureCut(graph.find_cut(skeleton, block)),
        "half precision": FeatureCut(graph.find_cut(skeleton, block), dtype="float16"),
        "pixels": FeatureCut(graph.find_cut(skeleton, 0)),
    }


@pytest.fixture(scope="module")
def images():
    TRAIN.read.clear()
    CHECK.read.clear()
    return Images(TRAIN.files(), CHECK.files(), OPTIONS)


@pytest.fixture(scope="module")
def written(tmp_path_factory, frozen, cuts, images):
    """All four cuts, written in one pass; where, what, and how it went."""
    folder = tmp_path_factory.mktemp("caches")
    ticks = []
    made = build_caches(
        RECIPE, list(cuts.values()), images, folder, frozen, lambda done, total: ticks.append((done, total))
    )
    return (
        folder,
        dict(zip(cuts, made.sources, strict=True)),
        made,
        ticks,
        (list(TRAIN.read), list(CHECK.read)),
    )


def no_backbone():
    raise AssertionError("the backbone is not needed")


def largest(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(first.astype(float) - second).max() / np.abs(second.astype(float)).max())


@pytest.mark.parametrize("view", [0, 1, VALIDATION])
@pytest.mark.parametrize("cut", ["head", "tail", "pixels"])
def test_cached_rows_are_the_rows_computed_live(written, frozen, cuts, images, cut, view):
    live = LiveSource(images, Trunk(frozen, [cuts[cut]], SIZE))
    some = np.array([11, 37, 7 if view == VALIDATION else 41, 11])
    cached, computed = (source.rows(view, some) for source in (written[1][cut], live))
    assert [part.dtype for part in cached] == [part.dtype for part in computed]
    assert all(largest(one, other) <= 1e-6 for one, other in zip(cached, computed, strict=True))


def test_a_row_does_not_depend_on_how_many_are_asked_for(frozen, cuts, images):
    live = LiveSource(images, Trunk(frozen, [cuts["tail"]], SIZE))
    together = live.rows(0, OWN[:40])[0]
    for place in (0, 31, 32, 39):
        assert largest(live.rows(0, OWN[place : place + 1])[0][0], together[place]) <= 1e-6


def test_features_are_those_of_the_backbone(written, frozen):
    """By the whole model as Keras runs it, on the images as validation shows them."""
    shown = written[1]["pixels"].rows(VALIDATION, OWN_CHECK)[0]
    whole = frozen.build()(frozen.preprocess(shown.astype(np.float32)), training=False).numpy()
    cached = written[1]["head"].rows(VALIDATION, OWN_CHECK)[0]
    fine = OWN_CHECK != 7
    assert largest(cached[fine], whole.mean(axis=(1, 2))[fine]) <= 1e-4


def test_half_precision_is_near(written):
    exact, half = (written[1][cut].rows(1, OWN)[0] for cut in ("tail", "half precision"))
    assert half.dtype == np.float16
    assert half.nbytes * 2 == exact.nbytes
    assert largest(half, exact) <= 1e-3


def test_half_precision_has_no_infinities(tmp_path, cuts, images):
    inputs = keras.Input((SIZE, SIZE, 3))
    large = keras.Model(inputs, keras.layers.Rescaling(1e6)(inputs))
    cut = FeatureCut(graph.Cut((1,), ("large",), ((SIZE, SIZE, 3),), 2), dtype="float16")
    recipe = replace(RECIPE, train=OWN[:3], validation=OWN[:0])
    made = build_caches(recipe, [cut], images, tmp_path, FrozenBackbone(lambda: large, lambda x: x), silent)
    assert np.isfinite(made.sources[0].rows(0, OWN[:3])[0]).all()


def silent(_done: int, _total: int) -> None:
    """For passes whose ticks are not looked at."""


def test_views_differ_and_validation_is_not_augmented(written):
    pixels = written[1]["pixels"]
    assert (pixels.rows(0, OWN)[0] != pixels.rows(1, OWN)[0]).any(axis=(1, 2, 3)).sum() == len(OWN) - 1
    plain = Images(TRAIN.files(), CHECK.files(), replace(OPTIONS, transforms={}))
    np.testing.assert_array_equal(
        pixels.rows(VALIDATION, OWN_CHECK)[0], plain.load(VALIDATION, OWN_CHECK).pixels
    )


def test_the_pass_reads_each_own_image_once_and_no_other(written):
    train, check = written[4]
    assert sorted(train) == [f"train/{i:03}" for i in OWN]
    assert sorted(check) == [f"check/{i:03}" for i in OWN_CHECK]


def test_the_pass_ticks_to_its_end(written):
    ticks, total = written[3], len(OWN) * VIEWS + len(OWN_CHECK)
    assert ticks == sorted(ticks)
    assert ticks[-1] == (total, total)
    assert len(ticks) > 3


def test_corrupt_images_are_named_and_their_rows_are_zero(written):
    corrupt = written[2].corrupt
    assert [(image.id, image.validation, image.example) for image in corrupt] == [
        ("train/041", False, 41),
        ("check/007", True, 7),
    ]
    assert all("JPEG" in image.why for image in corrupt)
    for source in written[1].values():
        assert not source.rows(0, np.array([41]))[0].any()
        assert not source.rows(VALIDATION, np.array([7]))[0].any()
        assert source.rows(0, np.array([43]))[0].any()


def test_another_worker_s_example_is_an_error(written):
    for missing in (2, 0, 90):
        with pytest.raises(KeyError):
            written[1]["head"].rows(0, np.array([1, missing]))


def test_the_next_generation_finds_the_cache(written, cuts, images):
    found = build_caches(
        RECIPE, list(cuts.values()), images, written[0], FrozenBackbone(no_backbone, no_backbone), silent
    )
    assert found.hit
    assert not written[2].hit
    assert (found.bytes, found.corrupt) == (written[2].bytes, written[2].corrupt)
    np.testing.assert_array_equal(found.sources[1].rows(1, OWN)[0], written[1]["tail"].rows(1, OWN)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "other"},
        {"weights": "other"},
        {"data": "other"},
        {"views": 3},
        {"train": OWN + 1},
        {"validation": OWN_CHECK[1:]},
        {"options": replace(OPTIONS, seed=6)},
        {"options": replace(OPTIONS, size=96)},
        {"options": replace(OPTIONS, transforms={})},
        {"options": replace(OPTIONS, max_pixels=7)},
    ],
    ids=lambda change: "/".join(change),
)
def test_another_recipe_is_another_cache(change):
    keys = [recipe.key("cut", "native") for recipe in (RECIPE, replace(RECIPE, **change))]
    assert keys[0] != keys[1]


def test_another_cut_or_dtype_is_another_cache(cuts):
    assert len({RECIPE.key(cut.name, cut.dtype) for cut in cuts.values()}) == 4


def test_the_number_of_threads_changes_no_cache():
    one = replace(RECIPE, options=replace(OPTIONS, threads=1))
    assert one.key("cut", "native") == RECIPE.key("cut", "native")


def test_a_pass_that_was_cut_short_leaves_nothing_to_be_found(tmp_path, frozen, cuts, images):
    def die(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    pixels = [cuts["pixels"]]
    with pytest.raises(KeyboardInterrupt):
        build_caches(RECIPE, pixels, images, tmp_path, frozen, die)
    again = build_caches(RECIPE, pixels, images, tmp_path, frozen, silent)
    assert not again.hit
    assert again.sources[0].rows(1, OWN)[0].any(axis=(1, 2, 3)).sum() == len(OWN) - 1
    assert [path.suffix for path in tmp_path.iterdir()] == [""]


def test_a_cache_from_before_the_machine_started_is_not_trusted(tmp_path, frozen, cuts, images):
    build_caches(RECIPE, [cuts["pixels"]], images, tmp_path, frozen, silent)
    (marker,) = tmp_path.glob("*/complete.json")
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"boot": "another"}))
    assert not build_caches(RECIPE, [cuts["pixels"]], images, tmp_path, frozen, silent).hit


def test_without_cached_stages_the_corrupt_images_are_known_all_the_same(tmp_path, images):
    nothing = FrozenBackbone(no_backbone, no_backbone)
    for hit in (False, True):
        made = build_caches(RECIPE, [], images, tmp_path, nothing, silent)
        assert (made.hit, made.bytes, len(made.sources)) == (hit, 0, 0)
        assert [image.id for image in made.corrupt] == ["train/041", "check/007"]


def test_a_full_disk_is_said_plainly(tmp_path, frozen, cuts, images):
    # The limit of a file's size stands in for the disk's: writing fails in the same place.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(BadConfiguration, match=r"does not fit into .*GiB are free.*maxBytes"):
            build_caches(RECIPE, [cuts["pixels"]], images, tmp_path, frozen, silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert cache_files.find(tmp_path, RECIPE.key("pixels", "native")) is None


def test_a_cut_of_two_tensors_gives_both_and_dropout_below_it_is_off(tmp_path, images):
    inputs = keras.Input((SIZE, SIZE, 3))
    left = keras.layers.Dropout(0.5, name="left")(keras.layers.AveragePooling2D(4, name="pool")(inputs))
    right = keras.layers.Conv2D(4, 3, strides=4, name="right")(inputs)
    model = keras.Model(inputs, [left, right])
    names = [operation.name for operation in model.operations]
    cut = graph.Cut(
        (names.index("left"), names.index("right")), ("left", "right"), ((16, 16, 3), (16, 16, 4)), 3
    )
    recipe = replace(RECIPE, validation=OWN_CHECK[:0])
    made = build_caches(
        recipe, [FeatureCut(cut)], images, tmp_path, FrozenBackbone(lambda: model, lambda x: x), silent
    )
    first, second = made.sources[0].rows(0, OWN[:5])
    assert (first.shape, second.shape) == ((5, 16, 16, 3), (5, 16, 16, 4))
    shown = images.augmented(images.load(0, OWN[:5]), 0).pixels.astype(np.float32)
    assert largest(first, shown.reshape(5, 16, 4, 16, 4, 3).mean(axis=(2, 4))) <= 1e-5
