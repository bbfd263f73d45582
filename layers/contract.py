"""The contract: one TOML file that says what a dataset is.

It generates the table, the API, the tiles, the map style, the validation, the documentation and the demo data.
The models here are the authority on its shape; `layers/checks` holds the rules that span several keys;
`layers/catalog` reads the files.
"""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from layers.rungs import DatasetId, Datum, Part, Place
from layers.travelled import ClosureSource, DispatchSource, RoadSource
from layers.watching import DURATION, IncidentRule
from twin.city import Title
from twin.identifiers import IdentifierKind
from twin.pseudonyms import PrivateKind

__all__ = [
    "Contract",
    "DataClass",
    "Demo",
    "Duration",
    "FieldSpec",
    "GeometryType",
    "GtfsSource",
    "Indicator",
    "Kind",
    "Measure",
    "Names",
    "OsmSource",
    "Source",
    "Style",
    "StylePart",
    "System",
    "TimeRule",
    "seconds",
]

Kind = Literal["feature", "observation", "track", "event", "coverage"]
DataClass = Literal["open", "department", "personal", "security"]
GeometryType = Literal["point", "line", "polygon", "any"]
FieldType = Literal["string", "integer", "float", "boolean", "datetime", "date"]

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Duration = Annotated[str, Field(pattern=DURATION)]
Rate = Annotated[str, Field(pattern=r"^(\d+(-\d+)? (s|min|h|d)|live|event|change|day|week|month|quarter|term|year)$")]
Colour = Annotated[str, Field(pattern=r"^(#[0-9a-fA-F]{6}|[a-z][a-z0-9_]*)$")]

_PLAIN = "#5F6B76"
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_MEASURE = re.compile(r"^(count|sum|mean|min|max|share)\(\s*([a-z][a-z0-9_]*)?\s*\)$")


def seconds(duration: str) -> int:
    """Length of a duration such as `5 min`, in seconds."""
    number, unit = duration.split()
    return int(number) * _SECONDS[unit]


class FieldSpec(Part):
    """One field: its type, its unit (UCUM), what values it may take."""

    type: FieldType
    title: Title
    unit: str | None = None
    range: tuple[float, float] | None = None
    values: dict[str, Title] = Field(default_factory=dict[str, Title], description="codes and what they mean")
    required: bool = False
    pattern: str | None = None
    max_length: int = Field(default=1000, ge=1)
    aliases: tuple[str, ...] = Field(default=(), description="other column headings that mean this field")
    private: PrivateKind | None = Field(
        default=None, description="what it identifies a person or device by; the value itself is never stored"
    )
    code: IdentifierKind | None = Field(default=None, description="the kind of code it holds, whose form is checked")
    data_class: DataClass | None = Field(
        default=None, alias="class", description="who may read this field, where that is not everyone who may the rest"
    )


class TimeRule(Part):
    """Which fields carry time. `event`: of an observation or track point; `start` and `end`: true from, true until.

    `zone` is for texts without an offset; unset: the city's.
    """

    event: str | None = None
    start: str | None = None
    end: str | None = None
    zone: str | None = None


class Names(Part):
    """Says that the records are named places which address texts mention, and which fields hold the words.

    `level` is that of GB/T 23705; `name` the field with the name, of addresses the whole text; `also` fields with
    further names (several are parted by 、 or ;). `code`: the administrative code of a district or town. `road` and
    `stakes`: a road's number, and its stakes (km) at the start and the end of the line. `where`: only such records.
    """

    level: Literal["district", "town", "village", "road", "address", "place"]
    name: str
    also: tuple[str, ...] = ()
    code: str | None = None
    road: str | None = None
    stakes: tuple[str, str] | None = None
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields it names."""
        single = (name for name in (self.code, self.road) if name is not None)
        return (self.name, *self.also, *single, *(self.stakes or ()), *self.where)


class AreaGroups(Part):
    """A coarser kind of areas: those whose codes begin with the same `digits` are one, and these are its code."""

    kind: Identifier
    title: Title
    digits: int = Field(ge=1, le=20)


class AreaKind(Part):
    """Says that the records are areas for which sums are made: their `kind`, and the fields with code and name.

    `partition`: they do not overlap and make up the city. `groups`: they also are the parts of larger areas.
    """

    kind: Identifier
    code: str
    name: str
    partition: bool = False
    groups: AreaGroups | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of areas that the dataset knows."""
        return (self.kind,) if self.groups is None else (self.kind, self.groups.kind)


class Dasymetric(Part):
    """Says that people are where the records are, in proportion to a numeric field."""

    field: str
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])


class Source(Part):
    """Which messages of a protocol bring records. `map`: the source's name of a value to ours.

    `select` names the messages by what their values are (`CN = ["2011"]`); none: all of them. `values`: our field to
    {the source's value: ours}; `"*"` is any other.
    """

    protocol: str
    map: dict[str, str] = Field(default_factory=dict[str, str])
    select: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    values: dict[str, dict[str, str]] = Field(default_factory=dict[str, dict[str, str]])


class OsmSource(Part):
    """How OpenStreetMap objects become records.

    `where`: tag to accepted values (`["*"]`: any); one matching tag is enough. `map`: our field to a tag, or to `@id`,
    or to `@tag` (the value of the tag that matched). `values`: our field to {tag value: our value}; `"*"` is any other.
    """

    elements: tuple[Literal["node", "way", "area"], ...] = Field(min_length=1)
    where: dict[str, tuple[str, ...]] = Field(min_length=1)
    map: dict[str, str]
    values: dict[str, dict[str, str]] = Field(default_factory=dict[str, dict[str, str]])


class GtfsSource(Part):
    """Which table of a GTFS feed becomes records, and which of its columns become which fields."""

    table: Literal["stops", "routes"]
    map: dict[str, str]


class Measure(Part):
    """A parsed measure: `count()`, `sum(f)`, `mean(f)`, `min(f)`, `max(f)` or `share(f)` (of a boolean)."""

    how: Literal["count", "sum", "mean", "min", "max", "share"]
    field: str | None

    @classmethod
    def parse(cls, text: str) -> "Measure":
        """Read a measure; raises ValueError when it is not one."""
        match = _MEASURE.match(text)
        if match is None or (match.group(2) is None) != (match.group(1) == "count"):
            raise ValueError(f"{text!r} is not a measure: write count(), sum(f), mean(f), min(f), max(f) or share(f)")
        return cls.model_validate({"how": match.group(1), "field": match.group(2)})


class Indicator(Part):
    """A number per H3 cell, kept as additive parts so that parents equal the sum of their children."""

    id: DatasetId
    title: Title
    measure: str
    unit: str = "1"
    resolution: int = Field(ge=0, le=15)
    window: Duration | None = None
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    data_class: DataClass | None = Field(default=None, alias="class")
    per_km2: bool = Field(default=False, description="divide by the true area of the cell")

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def parsed(self) -> Measure:
        """The measure, parsed."""
        return Measure.parse(self.measure)


class StylePart(Part):
    """How one geometry is drawn. `colour` is a hex colour or a field; a field with `values` gets one colour a value."""

    colour: Colour
    ramp: Literal["cividis", "diverging", "air", "category"] | None = None
    radius_px: float | None = None
    width_px: float | None = None
    opacity: float | None = Field(default=None, ge=0, le=1)


class Style(Part):
    """How the map draws the dataset."""

    circle: StylePart | None = None
    line: StylePart | None = None
    fill: StylePart | None = None
    label: str | None = Field(default=None, description="the field written beside the feature")
    minzoom: int = Field(default=0, ge=0, le=22)
    default: bool = Field(default=False, description="shown when the map opens")

    def without(self, hidden: frozenset[str]) -> "Style":
        """The style for those who may not read some fields: what they colour is drawn plain."""
        plain = {
            word: part.model_copy(update={"colour": _PLAIN, "ramp": None})
            for word, part in (("circle", self.circle), ("line", self.line), ("fill", self.fill))
            if part is not None and part.colour in hidden
        }
        return self.model_copy(update={**plain, **({"label": None} if self.label in hidden else {})})


class Demo(Part):
    """What the synthetic city makes for this dataset.

    `frame` is a frame of the synthetic city, or the dataset whose records these refer to. `where` and the values of
    `map` are SQL expressions over its columns; those of `map` may also use fields made before and the names

    - `n` (1, 2 ... for the records), `subject` (1, 2 ... for the rows taken), `now`
    - `chance`: uniform in [0, 1), drawn anew for each field
    - `began`, `ended`: a time in the last `hours`, and one about `lasts` later, null while that is to come (no streams)
    - `speed` (km/h), `heading` (degrees clockwise from north): of tracks, which move along the lines of the frame
    - `pm25`, `flow` ...: what the city's devices measure at that time

    Fields without an expression are made from their type, codes and range. The records are written to a file of this
    `format`, in the contract's datum, and loaded like any other.
    """

    frame: str
    where: str | None = None
    count: int | None = Field(
        default=None,
        ge=1,
        description="rows taken at scale 1, each once at most, for events and tracks any number of times; unset: all",
    )
    each: int = Field(default=1, ge=1, description="records made for each row taken")
    map: dict[str, str] = Field(default_factory=dict[str, str])
    hours: int = Field(default=24, ge=1, description="how far back observations, tracks and `began` reach")
    every: Duration = Field(default="1 h", description="observations and tracks: time between two")
    lasts: Duration = Field(default="6 h", description="events: usual time from start to end")
    radius_m: float | None = Field(default=None, gt=0, description="points and lines grow to areas of this radius")
    datum: Datum = Field(default="cgcs2000", description="datum of the file where the contract leaves it to each")
    format: Literal["csv", "xlsx", "geojson", "shp", "gpkg", "fgb", "parquet", "tif"] = "csv"


class Contract(Part):
    """What a dataset is."""

    id: DatasetId
    kind: Kind
    title: Title
    description: Title | None = None
    owner: str = Field(min_length=1)
    data_class: DataClass = Field(alias="class")
    readers: tuple[str, ...] = Field(default=(), description="further audiences that may read it")
    purpose: str | None = None
    basis: str | None = None
    retention: Duration | None = None
    people: Identifier | None = Field(
        default=None, description="of personal data: the field that says how many persons a record stands for"
    )
    sensitive: Literal["cameras", "hazards", "devices", "persons", "vehicles", "guards", "utilities"] | None = Field(
        default=None, description="what it shows that no public map may"
    )
    reviewed: str | None = Field(default=None, description="why the public may see it although its words are suspect")
    edits: dict[Identifier, dict[str, str]] = Field(
        default_factory=dict[str, dict[str, str]],
        description="further verbs by which a branch adds a record, each with the field values it stands for",
    )
    rate: Rate
    late_after: Duration | None = None
    key: tuple[str, ...] = Field(min_length=1)
    geometry: GeometryType
    time: TimeRule = TimeRule()
    place: Place
    fields: dict[Identifier, FieldSpec] = Field(min_length=1)
    names: Names | None = None
    areas: AreaKind | None = None
    dasymetric: Dasymetric | None = None
    roads: RoadSource | None = None
    closes: ClosureSource | None = None
    dispatch: DispatchSource | None = None
    source: tuple[Source, ...] = Field(default=(), description="one, or a list: several protocols bring the same")
    osm: OsmSource | None = None
    gtfs: GtfsSource | None = None
    indicators: tuple[Indicator, ...] = ()
    rules: tuple[IncidentRule, ...] = Field(default=(), description="when its things become incidents")
    style: Style = Style()
    demo: Demo | None = None
    standards: tuple[str, ...] = ()
    notes: str | None = None
    quality: Literal["none", "bronze", "silver", "gold"] = Field(
        default="none", description="the level of the quality scale that it promises to keep"
    )

    def __hash__(self) -> int:
        return hash(self.id)

    @field_validator("source", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return (value,) if isinstance(value, dict) else value

    @property
    def system(self) -> str:
        """The system the dataset belongs to."""
        return self.id.split(".")[0]

    @property
    def name(self) -> str:
        """The dataset's name within its system."""
        return self.id.split(".")[1]

    @property
    def is_personal(self) -> bool:
        """Whether its numbers leave the twin only through `twin.privacy`."""
        return self.data_class == "personal"

    @property
    def names_somebody(self) -> bool:
        """Whether what arrives of it may name a person or device, so that it is kept sealed."""
        return self.is_personal or any(spec.private is not None for spec in self.fields.values())

    @property
    def is_stream(self) -> bool:
        """Whether rows are moments of a subject (observation, track) rather than states that hold for a while."""
        return self.kind in {"observation", "track"}

    @property
    def subject_key(self) -> tuple[str, ...]:
        """The key without the time of the observation: what identifies the thing itself."""
        return tuple(name for name in self.key if not (self.is_stream and name == self.time.event))


class System(Part):
    """One of the 23 systems of the city's plan: `layers/catalog/<id>/system.toml`."""

    id: Identifier
    number: str = Field(description="its number in the plan: 1, P1..P6, C1..C16")
    title: Title
    owner: str
    description: Title
