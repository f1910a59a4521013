"""What holds for all tests."""

from hypothesis import settings

# The same examples in every run, and no deadline: the machines that run this are shared and slow at times.
# `pytest --hypothesis-profile default` explores.
settings.register_profile("reproducible", deadline=None, derandomize=True)
settings.load_profile("reproducible")
