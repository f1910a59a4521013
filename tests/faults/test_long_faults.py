"""What the API server's longer troubles did to the operator; `long_faults` has lived through them meanwhile."""

from concurrent.futures import Future

import pytest


@pytest.mark.parametrize(
    "fault", ["etcd is restarted", "the API server is down for two minutes", "no permission for a minute"]
)
def test_the_operator_is_back_within_fifteen_seconds(
    fault: str, long_faults: dict[str, Future[None]]
) -> None:
    long_faults[fault].result()
