"""Amounts and times as Kubernetes writes them, read into plain numbers."""

import re
from decimal import Decimal

QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

_SCALES = {"": Decimal(1), "m": Decimal("0.001")}
_SCALES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTP", start=1)}
_SCALES |= {f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTP", start=1)}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_quantity(text: str) -> int:
    """The whole number in a Kubernetes quantity, rounded up like Kubernetes does: "20Gi" -> 21474836480.

    Raises:
        ValueError: `text` is not a quantity.
    """
    found = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", text) if re.fullmatch(QUANTITY, text) else None
    if found is None:
        raise ValueError(f"{text!r} is not an amount such as 512, 20Gi or 1.5G")
    amount = Decimal(found[1]) * _SCALES[found[2]]
    return int(amount.to_integral_value(rounding="ROUND_CEILING"))


def parse_duration(text: str) -> float:
    """Seconds in a duration: "1h30m" -> 5400.0.

    Raises:
        ValueError: `text` is not a duration longer than nothing.
    """
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", text) if re.fullmatch(DURATION, text) else []
    seconds = sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    if seconds <= 0:
        raise ValueError(f"{text!r} is not a time such as 90s, 10m or 1h30m")
    return seconds
