"""Typed edits: what a person or a model may do to the records of a branch.

`add`, `change` and `remove` speak of one record, `set_attribute` of all that a filter selects. Contracts name further
verbs (`close_road`, `rain`, ...), each an `add` to their dataset with some values given. An edit holds from its start
(the branch's own unless said) until its end, or as long as the record's present state.
"""

import datetime as dt
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from layers.branching.registry import Listed, log_edit, put_on_record, require_open
from layers.branching.rows import Change, write_changes
from layers.branching.values import checked_properties, checked_shape, key_of
from layers.catalog import Catalog
from layers.contract import Contract
from layers.grants import is_limited, may_read, seen_by
from layers.query import ItemsQuery, selected
from twin.access import Caller
from twin.city import City
from twin.errors import InvalidRequest, LimitExceeded, NotAllowed, NotFound
from twin.view import Span, View

__all__ = ["MOST_EDITS", "Edit", "Edited", "edit", "parse_edits", "verbs"]

MOST_EDITS = 10_000
_OWN_WORDS = ("add", "change", "remove", "set_attribute")


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    start: AwareDatetime | None = Field(default=None, alias="from", description="true in the world from then on")
    end: AwareDatetime | None = Field(default=None, alias="to", description="until then; unset: as long as it was")


class Remove(_Said):
    """A record is there no more."""

    do: Literal["remove"]
    dataset: str
    id: str


class Replace(_Said):
    """A record gets other properties or another shape; what is not named stays."""

    do: Literal["change"]
    dataset: str
    id: str
    properties: dict[str, Any] = Field(default_factory=dict[str, Any])
    geometry: dict[str, Any] | None = None


class SetAttribute(_Said):
    """All records that a CQL2 filter selects get these properties."""

    do: Literal["set_attribute"]
    dataset: str
    filter: str
    properties: dict[str, Any] = Field(min_length=1)


class Add(_Said):
    """A new record; `do` is `add`, or a verb of a contract, which then needs no `dataset`."""

    do: str
    dataset: str | None = None
    properties: dict[str, Any] = Field(default_factory=dict[str, Any])
    geometry: dict[str, Any] | None = None


def _kind(said: object) -> str:
    word = said.get("do") if isinstance(said, dict) else getattr(said, "do", None)
    return str(word) if word in _OWN_WORDS and word != "add" else "add"


Edit = Remove | Replace | SetAttribute | Add
_EDITS = TypeAdapter(Annotated[list[Edit], Field(min_length=1, max_length=MOST_EDITS)])
_BY_WORD: dict[str, type[Edit]] = {"remove": Remove, "change": Replace, "set_attribute": SetAttribute, "add": Add}


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of one edit: the dataset and how many records it concerned, by id where it is one."""

    do: str
    dataset: str
    records: int
    id: str | None


def parse_edits(said: object) -> list[Edit]:
    """Read edits from JSON: one, or a list of at most 10,000. Raises InvalidRequest that names every fault."""
    several = said if isinstance(said, list) else [said]
    if not 0 < len(several) <= MOST_EDITS:
        raise LimitExceeded(f"{len(several):,} edits at once.", remedy=f"Send 1 to {MOST_EDITS:,}.")
    found: list[Edit] = []
    faults: list[str] = []
    for number, one in enumerate(several, 1):
        try:
            found.append(_BY_WORD[_kind(one)].model_validate(one))
        except ValidationError as error:
            faults += [f"edit {number}, {'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors()]
    if faults:
        raise InvalidRequest(
            f"these are no edits: {'; '.join(faults[:20])}.",
            where="edits",
            remedy='Write for example {"do": "remove", "dataset": "...", "id": "..."}.',
        )
    return found


def verbs(catalog: Catalog) -> dict[str, list[str]]:
    """The verbs of the contracts, each with the datasets it can add to."""
    found: dict[str, list[str]] = {}
    for contract in catalog:
        for verb in contract.edits:
            found.setdefault(verb, []).append(contract.id)
    return dict(sorted(found.items()))


def edit(
    connection: sa.Connection, catalog: Catalog, city: City, branch: Listed, caller: Caller, edits: list[Edit]
) -> list[Edited]:
    """Make edits in a branch, all or none, in the transaction of `connection`.

    Edits of one dataset are made in their order; main is not touched. Raises Conflict for a branch that is closed,
    NotFound for a record that is not there in the branch, NotAllowed and InvalidRequest as their words say.
    """
    require_open(branch)
    done: list[Edited] = []
    waiting: dict[str, list[Change]] = {}
    for one in edits:
        contract = _contract_of(catalog, caller, one)
        changes = _changes(connection, contract, city, branch, caller, one, waiting)
        waiting.setdefault(contract.id, []).extend(changes)
        done.append(Edited(one.do, contract.id, len(changes), changes[0].id if len(changes) == 1 else None))
    for dataset, changes in waiting.items():
        at = write_changes(connection, catalog[dataset], city, branch, changes)
        log_edit(connection, branch, caller, at, dataset, [change.on_record() for change in changes])
    for dataset in {one.dataset for one in done}:
        number = sum(one.records for one in done if one.dataset == dataset)
        put_on_record(connection, "edit", caller, branch, dataset, records=number)
    return done


def _contract_of(catalog: Catalog, caller: Caller, one: Edit) -> Contract:
    """The contract of the dataset an edit is about. One that the caller may not read is as absent as no dataset."""
    dataset = one.dataset
    if isinstance(one, Add) and one.do != "add":
        datasets = verbs(catalog).get(one.do, [])
        if not datasets or (dataset is not None and dataset not in datasets):
            known = ", ".join([*_OWN_WORDS, *verbs(catalog)])
            raise InvalidRequest(f"{one.do[:40]!r} is no edit.", where="do", remedy=f"There are: {known}.")
        if dataset is None and len(datasets) > 1:
            what = f"{one.do} can be about {', '.join(datasets)}."
            raise InvalidRequest(what, where="dataset", remedy="Say which.")
        dataset = dataset or datasets[0]
    contract = catalog.contracts.get(dataset or "")
    if contract is None or not may_read(contract.data_class, contract, caller.audience):
        raise NotFound(f"no dataset is called {(dataset or '')[:60]!r}.", where="dataset", remedy="See /collections.")
    if contract.kind not in {"feature", "event"}:
        raise InvalidRequest(
            f"{contract.id} is a {contract.kind}: branches change features and events.", where="dataset"
        )
    if is_limited(contract, caller.audience):
        raise NotAllowed(f"your grant on {contract.id} is for reading in an area.", remedy="Ask its department.")
    return seen_by(contract, caller.audience)


def _changes(
    connection: sa.Connection,
    contract: Contract,
    city: City,
    branch: Listed,
    caller: Caller,
    one: Edit,
    waiting: dict[str, list[Change]],
) -> list[Change]:
    """The changes of records that an edit means."""
    start = one.start or branch.starts_at
    if one.end is not None and one.end <= start:
        raise InvalidRequest("the edit ends before it starts.", where="to", remedy="Choose a later end.")
    match one:
        case Remove():
            return [Change("remove", one.id, start, one.end)]
        case Replace():
            shape = checked_shape(contract, one.geometry, city) if one.geometry else None
            values = checked_properties(contract, one.properties, partial=True)
            _require_same_key(contract, values)
            return [Change("change", one.id, start, one.end, values, shape)]
        case SetAttribute():
            values = checked_properties(contract, one.properties, partial=True)
            _require_same_key(contract, values)
            if waiting.get(contract.id):  # the filter looks at what the edits before it have made
                before = waiting.pop(contract.id)
                at = write_changes(connection, contract, city, branch, before)
                log_edit(connection, branch, caller, at, contract.id, [change.on_record() for change in before])
            view = View(valid_at=Span.instant(start), branch=branch.branch, audience=caller.audience)
            ids = _selected(connection, contract, view, city, one.filter)
            return [Change("change", fid, start, one.end, values) for fid in ids]
        case Add():
            return [_added(contract, city, branch, one, start)]


def _selected(connection: sa.Connection, contract: Contract, view: View, city: City, condition: str) -> list[str]:
    found = selected(contract, view, city, ItemsQuery(filter=condition))
    ids = list(connection.scalars(found.select(found.rows.c.id).limit(MOST_EDITS + 1)))
    if len(ids) > MOST_EDITS:
        raise LimitExceeded(f"the filter selects more than {MOST_EDITS:,} records.", remedy="Narrow it.")
    return ids


def _added(contract: Contract, city: City, branch: Listed, one: Add, start: dt.datetime) -> Change:
    given = {**contract.edits.get(one.do, {}), **one.properties}
    if len(contract.key) == 1 and contract.fields[contract.key[0]].type == "string":
        given.setdefault(contract.key[0], f"{branch.name}-{secrets.token_hex(4)}"[:60])
    begins, ends = one.start, one.end
    if contract.time.start is not None:  # a stated start is a field too
        given.setdefault(contract.time.start, start.isoformat())
        begins = dt.datetime.fromisoformat(str(given[contract.time.start]))
    if contract.time.end is not None and one.end is not None:
        given.setdefault(contract.time.end, one.end.isoformat())
    if contract.time.end is not None and given.get(contract.time.end):
        ends = dt.datetime.fromisoformat(str(given[contract.time.end]))
    values = checked_properties(contract, given, partial=False)
    fid = key_of(contract, values)
    if fid is None:
        what = f"a record of {contract.id} needs {', '.join(contract.key)}."
        raise InvalidRequest(what, where="properties", remedy="They are its key.")
    if one.geometry is None:
        raise InvalidRequest(f"a new record of {contract.id} needs a geometry.", where="geometry")
    shape = checked_shape(contract, one.geometry, city)
    return Change("add", fid, begins or start, ends, values, shape)


def _require_same_key(contract: Contract, values: dict[str, Any]) -> None:
    for name in contract.key:
        if name in values:
            raise InvalidRequest(
                f"{name!r} is part of the key of {contract.id}.", where="properties", remedy="Remove and add instead."
            )
