import pytest

from finetune_api.v1alpha1 import units


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("512", 512),
        ("20Gi", 20 * 2**30),
        ("1.5G", 1_500_000_000),
        ("500m", 1),
        ("1500m", 2),
        ("0", 0),
        ("2k", 2000),
        ("1Ki", 1024),
        ("3Pi", 3 * 2**50),
    ],
)
def test_a_quantity_is_read_as_kubernetes_reads_it(text: str, number: int) -> None:
    assert units.parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "Gi", "20GB", "20 Gi", "-1", "1e3", "1.", ".5", "20gi", "20Gi\n", "+1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        units.parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("0.5s", 0.5), ("250ms", 0.25), ("1m1s", 61)]
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "60", "s", "5x", "1d", "0s", "-5s", "1h 30m", "5s\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        units.parse_duration(text)
