"""The newest known view of every object of one kind."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

View = TypeVar("View")
Body = Mapping[str, Any]


REMEMBERED = 10_000
"""Objects that are gone."""


@dataclass(slots=True)
class _Entry(Generic[View]):
    view: View
    version: int
    scope: str


class Store(Generic[View]):
    """Keeps views instead of bodies, and only ever newer ones.

    `view` makes a view from a body, None if the object is of no interest. `indexes` are by what views can
    be found. `changed` is told each change as (old, new), None for an object that was not or is no longer.
    """

    def __init__(
        self,
        view: Callable[[Body], View | None],
        indexes: Mapping[str, Callable[[View], Hashable]],
        changed: Callable[[View | None, View | None], None] | None = None,
    ) -> None:
        self._view = view
        self._indexes = indexes
        self._changed = changed or (lambda _old, _new: None)
        self._entries: dict[str, _Entry[View]] = {}
        self._found: dict[str, dict[Hashable, dict[str, View]]] = {name: {} for name in indexes}
        self._reached: dict[str, int] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, uid: str) -> bool:
        return uid in self._entries

    def __iter__(self) -> Iterator[View]:
        return iter([entry.view for entry in self._entries.values()])

    def by(self, index: str, key: Hashable) -> list[View]:
        """All views that `index` maps to `key`."""
        return list(self._found[index].get(key, {}).values())

    def one(self, index: str, key: Hashable) -> View | None:
        """One view that `index` maps to `key`; the one that came last if there are several."""
        found = self._found[index].get(key)
        return next(reversed(found.values())) if found else None

    def put(self, body: Body, scope: str = "") -> None:
        """Takes in an object as a list or watch of `scope` sent it; what is older than known is dropped."""
        metadata = body["metadata"]
        version = version_of(body)
        self.reach(version, scope)
        known = self._entries.get(metadata["uid"])
        if (known is None or version > known.version) and not self._is_gone(metadata["uid"], version):
            self._set(metadata["uid"], self._view(body), version, scope)

    def answer(self, body: Body, scope: str = "", *, new: bool = True) -> None:
        """Takes in an object as a write or read was answered with it, so that one's own writes are seen.

        What the watch has already gone past is dropped: the object may be deleted since. With `new` False
        only an object that is known is updated.
        """
        version = version_of(body)
        known = self._entries.get(body["metadata"]["uid"])
        if known is None and (not new or version <= self._reached.get(scope, 0)):
            return
        if self._is_gone(body["metadata"]["uid"], version):
            return
        if known is None or version > known.version:
            self._set(body["metadata"]["uid"], self._view(body), version, scope)

    def drop(self, uid: str, version: int = 0) -> None:
        """The object is gone since `version`; a list that began before may still hold it."""
        if entry := self._entries.pop(uid, None):
            self._gone[uid] = max(version, entry.version)
            if len(self._gone) > REMEMBERED:
                self._gone.popitem(last=False)
            self._unindex(uid, entry.view)
            self._changed(entry.view, None)

    def _is_gone(self, uid: str, version: int) -> bool:
        return version <= self._gone.get(uid, -1)

    def keep_only(self, uids: set[str], version: int, scope: str = "") -> None:
        """A whole list of `scope` at `version` held just these: others are gone, unless made after it."""
        for uid, entry in list(self._entries.items()):
            if entry.scope == scope and uid not in uids and entry.version <= version:
                self.drop(uid, version)
        self.reach(version, scope)

    def reach(self, version: int, scope: str = "") -> None:
        """Everything up to `version` has been seen; a bookmark says so without an object."""
        self._reached[scope] = max(version, self._reached.get(scope, 0))

    def _set(self, uid: str, view: View | None, version: int, scope: str) -> None:
        if view is None:
            return self.drop(uid)
        known = self._entries.get(uid)
        self._entries[uid] = _Entry(view, version, scope)
        if known is None or known.view != view:
            if known:
                self._unindex(uid, known.view)
            for name, key_of in self._indexes.items():
                self._found[name].setdefault(key_of(view), {})[uid] = view
            self._changed(known.view if known else None, view)
        return None

    def _unindex(self, uid: str, view: View) -> None:
        for name, key_of in self._indexes.items():
            found = self._found[name]
            same = found.get(key_of(view), {})
            same.pop(uid, None)
            if not same:
                found.pop(key_of(view), None)


def version_of(body: Body) -> int:
    """The resourceVersion as a number, as Kubernetes says it may be compared; 0 for anything else."""
    version = str((body.get("metadata") or {}).get("resourceVersion") or "")
    return int(version) if version.isdecimal() else 0
