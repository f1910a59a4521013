"""Tests of one module that run at the same time: each mostly waits, so together they last as long as the slowest.

    story = Stories("cluster")              # the fixture that each is called with
    telling = story.fixture()

    @story
    def test_a_deleted_worker_is_replaced(cluster: Cluster) -> None: ...

The first test starts the bodies of all that were selected, each in a thread; every test then reports its own.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

Body = Callable[[Any], None]
Told = dict[str, Future[None]]


class Stories:
    """Collects the bodies of one test module."""

    def __init__(self, world: str) -> None:
        self._world = world
        self._bodies: dict[str, tuple[Body, str]] = {}

    def __call__(self, body: Body) -> Callable[[Told], None]:
        """A test that reports how `body` went."""
        return self.on(self._world)(body)

    def on(self, world: str) -> Callable[[Body], Callable[[Told], None]]:
        """The same with another fixture."""

        def decorate(body: Body) -> Callable[[Told], None]:
            self._bodies[body.__name__] = (body, world)

            def test(telling: Told) -> None:
                telling[body.__name__].result()

            test.__name__, test.__doc__, test.__module__ = body.__name__, body.__doc__, body.__module__
            return test

        return decorate

    def fixture(self) -> Any:
        """The fixture `telling`, to be assigned to that name in the module."""

        @pytest.fixture(scope="module", name="telling")
        def telling(request: pytest.FixtureRequest) -> Iterator[Told]:
            selected = {item.name for item in request.session.items if item.path == request.path}
            bodies = {name: told for name, told in self._bodies.items() if name in selected}
            worlds = {world: request.getfixturevalue(world) for _, world in bodies.values()}
            with ThreadPoolExecutor(len(bodies), thread_name_prefix="story") as threads:
                yield {name: threads.submit(body, worlds[world]) for name, (body, world) in bodies.items()}

        return telling
