"""How many images may fail to decode before a run is refused."""

import pytest

from finetune_api.errors import BadData
from finetune_trainer.features import refuse_corrupt
from finetune_trainer.images import CorruptImage


def corrupt(count: int) -> list[CorruptImage]:
    return [CorruptImage(False, i, f"cats/{i}.jpg", "Invalid JPEG data") for i in range(count)]


@pytest.mark.parametrize(("count", "limit"), [(0, 0.0), (1, 0.01), (12, 0.12)])
def test_some_corrupt_images_are_tolerated(count, limit):
    refuse_corrupt(corrupt(count), 100, limit)


def test_too_many_corrupt_images_are_named():
    with pytest.raises(BadData) as refused:
        refuse_corrupt(corrupt(12), 100, 0.01)
    message = str(refused.value)
    assert "12 of 100 images do not decode" in message
    assert "cats/0.jpg (Invalid JPEG data)" in message
    assert "and 2 more" in message
    assert "maxCorruptFraction" in message
