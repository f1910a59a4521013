"""Coroutines as tests."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

Given = ParamSpec("Given")


def run(test: Callable[Given, Coroutine[Any, Any, None]]) -> Callable[Given, None]:
    """The coroutine function as a function: each call has an event loop of its own."""

    @functools.wraps(test)
    def called(*args: Given.args, **kwargs: Given.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return called
