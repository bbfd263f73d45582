"""Keeps the traffic of a network as closures and speeds say, and knows which of them closes what."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from layers.roads.conditions import Condition
from layers.roads.isochrone import Cells
from layers.roads.profiles import Profile
from layers.roads.routing import Router
from layers.roads.touching import Edges
from twin.errors import InvalidRequest

__all__ = ["Following"]

Ints = NDArray[np.int32]

_MOST_SHARE = 0.5
_NEAR_M = 20.0


class Following:
    """A router whose traffic follows the conditions that hold for one who travels."""

    def __init__(self, router: Router, profile: Profile) -> None:
        self.router, self.profile = router, profile
        self._held: dict[str, tuple[Condition, Ints]] = {}
        self._cells: dict[int, Cells] = {}

    @cached_property
    def _edges(self) -> Edges:
        return Edges(self.router.network)

    def cells(self, resolution: int) -> Cells:
        """The cells of the network at a resolution, made when first asked for."""
        if resolution not in self._cells:
            self._cells[resolution] = Cells(self.router.network, resolution)
        return self._cells[resolution]

    @property
    def conditions(self) -> list[Condition]:
        """What is followed now."""
        return [condition for condition, _ in self._held.values()]

    def follow(self, conditions: Sequence[Condition]) -> bool:
        """Let exactly these conditions hold; those that hold already cost nothing. Whether anything changed."""
        wanted = {one.id: one for one in conditions if not one.profiles or self.profile.id in one.profiles}
        if self.profile.mode == "foot":
            wanted = {name: one for name, one in wanted.items() if self.profile.id in one.profiles}
        gone = [name for name, (held, _) in self._held.items() if _is_other(held, wanted.get(name))]
        new = [one for name, one in wanted.items() if name not in self._held or name in gone]
        for name in gone:
            self._undo(*self._held.pop(name))
        for one in new:
            edges = self.touched(one)
            self._held[one.id] = one, edges
            if one.closes:
                self.router.traffic.close(edges)
            else:
                self.router.traffic.slow(_of(one), edges, np.full(len(edges), one.factor))
        return bool(gone or new)

    def touched(self, condition: Condition) -> Ints:
        """The edges (q,) that a condition concerns."""
        return self._edges.touched(condition.shape, float(condition.said.get("accuracy_m", _NEAR_M)))

    def require_sensible(self, condition: Condition) -> int:
        """How many edges a condition concerns. Raises InvalidRequest when that is none, or half the network."""
        count = len(self.touched(condition))
        if count == 0:
            raise InvalidRequest(
                "there is no road there.", where="geometry", remedy="Draw along a road, or around some of its length."
            )
        if condition.closes and count > _MOST_SHARE * self.router.network.edges:
            raise InvalidRequest(
                f"it would close {count / self.router.network.edges:.0%} of all roads.",
                where="geometry",
                remedy="Draw a smaller area.",
            )
        return count

    def closing(self, edge: int) -> list[Condition]:
        """The closures that close an edge."""
        return [one for one, edges in self._held.values() if one.closes and edge in edges]

    def _undo(self, condition: Condition, edges: Ints) -> None:
        if condition.closes:
            self.router.traffic.open(edges)
        else:
            self.router.traffic.forget(_of(condition))


def _of(condition: Condition) -> str:
    """The name by which the traffic knows a speed: each is taken back by itself."""
    return f"{condition.source}:{condition.id}"


def _is_other(held: Condition, wanted: Condition | None) -> bool:
    return wanted is None or (held.factor, held.shape) != (wanted.factor, wanted.shape)
