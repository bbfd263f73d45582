"""Place rules of a contract: rungs in order, the first that passes its own check gives a record its place."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AddressRung",
    "AreaRung",
    "CellRung",
    "CoordinateRung",
    "DatasetId",
    "Datum",
    "GeometryRung",
    "Part",
    "Place",
    "RegisterRung",
    "Rung",
    "StakeRung",
    "columns_of",
]

DatasetId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}\.[a-z][a-z0-9_]{0,40}$")]
Datum = Annotated[
    str,
    Field(
        pattern=r"^(wgs84|cgcs2000|cgcs2000-3deg-\d{2,3}|gcj02|bd09|xian80|beijing54|local|per_file|detect|none)$",
        description="`per_file`: each file says its own, by its CRS or by --datum; `detect`: each batch of coordinates"
        " shows it by the places that its other rungs know",
    ),
]


class Part(BaseModel):
    """A part of a contract: says no more than its model knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class CoordinateRung(Part):
    """A pair of coordinate columns."""

    by: Literal["coordinate"]
    x: str
    y: str
    datum: Datum
    accuracy_m: float = Field(gt=0)


class GeometryRung(Part):
    """The geometry the file itself carries."""

    by: Literal["geometry"]
    datum: Datum
    accuracy_m: float = Field(gt=0)


class RegisterRung(Part):
    """The place of the registered thing with this id: `register` is the dataset that lists such things.

    `by` says what kind of thing it is, and so how the record came to its place.
    """

    by: Literal["device", "facility", "enterprise", "grid", "parcel"]
    id: str
    register_: DatasetId = Field(alias="register")


class AreaRung(Part):
    """The area with this administrative code: the record is known no better than its area."""

    by: Literal["area"]
    code: str
    register_: DatasetId = Field(alias="register")


class CellRung(Part):
    """The H3 cell with this index."""

    by: Literal["cell"]
    id: str


class AddressRung(Part):
    """The address in a text; `area` is a field with the administrative code in which it lies, where there is one."""

    by: Literal["address"]
    text: str
    area: str | None = None


class StakeRung(Part):
    """A road and a stake in a text (`G104 K612+300`); `road` is the field with the road where the text has none."""

    by: Literal["stake"]
    text: str
    road: str | None = None


Rung = Annotated[
    CoordinateRung | GeometryRung | RegisterRung | AddressRung | StakeRung | AreaRung | CellRung,
    Field(discriminator="by"),
]


class Place(Part):
    """How a record becomes a place: rungs in order, the first that passes its own check wins."""

    rungs: tuple[Rung, ...] = Field(min_length=1)


def columns_of(rung: Rung) -> tuple[str, ...]:
    """The fields and columns that a rung looks at; none for the geometry that a file itself carries."""
    match rung:
        case CoordinateRung():
            return rung.x, rung.y
        case AddressRung():
            return (rung.text,) if rung.area is None else (rung.text, rung.area)
        case StakeRung():
            return (rung.text,) if rung.road is None else (rung.text, rung.road)
        case AreaRung():
            return (rung.code,)
        case RegisterRung() | CellRung():
            return (rung.id,)
        case GeometryRung():
            return ()
