"""What a contract says of travel: that its records are roads, that they close roads, or that they can be sent."""

from pydantic import Field

from layers.rungs import Part

__all__ = ["ClosureSource", "DispatchSource", "RoadSource"]


class RoadSource(Part):
    """Says that the records are roads that can be travelled, and which fields hold what counts there.

    `road_class`: its codes are classes of `layers/roads/profiles.toml`. `direction`: `both`, `forward` (along the line
    only) or `backward`. The others are limits that are posted. Number and stakes are those of `names`.
    """

    road_class: str
    direction: str | None = None
    limit_kmh: str | None = None
    height_m: str | None = None
    width_m: str | None = None
    weight_t: str | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields it names."""
        limits = (self.direction, self.limit_kmh, self.height_m, self.width_m, self.weight_t)
        return (self.road_class, *(name for name in limits if name is not None))


class ClosureSource(Part):
    """Says that the records close roads: along a line, within an area, around a point as wide as its accuracy.

    `reason`: the field that says why.
    """

    reason: str


class DispatchSource(Part):
    """Says that the records can be sent, or be gone to.

    `profile`: how they travel. `available`: field to the values with which one can be sent now. `kind`, `skills`: the
    fields that say what it is and what it can do (several are parted by 、 or ;).
    """

    profile: str = "car"
    available: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    kind: str | None = None
    skills: str | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields it names."""
        return (*self.available, *(name for name in (self.kind, self.skills) if name is not None))
