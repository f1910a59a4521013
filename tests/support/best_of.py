"""Claims of speed on a machine that does other things too: what it does is not the fault of what is measured."""

from collections.abc import Iterator


def some(tries: int, *, under: float) -> Iterator[list[float]]:
    """Yields the list that each try adds its seconds to, until one took less than `under`; fails if none did."""
    times: list[float] = []
    for number in range(1, tries + 1):
        yield times
        assert len(times) == number, "a try has to say how long it took"
        if times[-1] < under:
            return
    raise AssertionError(
        f"the best of {tries} took {min(times):.2f} s, at most {under} s were wanted: {times}"
    )
