"""A real control plane without an operator, to which each test here adds its own, breaking things between the two."""

from fault_rig import rig
from long_faults import begin_long_faults, long_faults

__all__ = ["begin_long_faults", "long_faults", "rig"]
