"""The catalogue: every contract of the city, read from `layers/catalog/<system>/<dataset>.toml`."""

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from layers.checks import faults
from layers.contract import Contract, Indicator, System
from layers.filters import filter_condition
from layers.gate import gate_faults
from layers.quality import keeps, quality_of
from layers.tables import dataset_table
from twin.errors import ContractError, InvalidRequest, LimitExceeded, NotFound
from twin.settings import settings

__all__ = ["Catalog", "Problem", "catalog", "read_catalog", "read_contract"]

_ANY_SRID = 4490
BUILT_IN = Path(str(resources.files("layers"))) / "catalog"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a contract: file, line and what is wrong, in words."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Catalog:
    """The contracts by dataset id and the systems by id, both sorted."""

    contracts: dict[str, Contract]
    systems: dict[str, System]
    digests: dict[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of each contract's file, by dataset id: which contract judged a record."""

    def __getitem__(self, dataset: str) -> Contract:
        """The contract of a dataset. Raises NotFound."""
        try:
            return self.contracts[dataset]
        except KeyError:
            raise NotFound(f"no dataset is called {dataset!r}.", remedy="See `twin catalog list`.") from None

    def __iter__(self) -> Iterator[Contract]:
        """The contracts in order of their ids."""
        return iter(self.contracts.values())

    def __len__(self) -> int:
        """How many datasets there are."""
        return len(self.contracts)

    def indicators(self) -> Iterator[tuple[Contract, Indicator]]:
        """Every indicator with the contract that declares it."""
        for contract in self:
            for indicator in contract.indicators:
                yield contract, indicator

    def indicator(self, name: str) -> tuple[Contract, Indicator]:
        """One indicator with its contract. Raises NotFound."""
        for contract, indicator in self.indicators():
            if indicator.id == name:
                return contract, indicator
        raise NotFound(f"no indicator is called {name!r}.", remedy="See /indicators.")


def read_contract(path: Path) -> Contract:
    """Read one contract. Raises ContractError that lists every fault with its line."""
    contract, problems = _read(path)
    if contract is None or problems:
        raise ContractError("\n".join(map(str, problems)))
    return contract


def read_catalog(folders: Iterable[Path]) -> tuple[Catalog, list[Problem]]:
    """Read every contract below `folders`; later folders may add datasets and systems but not replace them.

    The catalogue holds what is right; the problems say what is wrong with the rest.
    """
    contracts: dict[str, Contract] = {}
    systems: dict[str, System] = {}
    digests: dict[str, str] = {}
    problems: list[Problem] = []
    for folder in folders:
        for path in sorted(folder.glob("*/system.toml")):
            system, faulty = _read_system(path)
            problems += faulty
            if system:
                systems.setdefault(system.id, system)
    for folder in folders:
        for path in sorted(p for p in folder.glob("*/*.toml") if p.name != "system.toml"):
            contract, faulty = _read(path)
            problems += faulty
            if contract is None or faulty:
                continue
            if contract.id in contracts:
                problems.append(Problem(path, 1, f"the dataset {contract.id!r} is declared twice"))
            elif contract.system not in systems:
                problems.append(Problem(path, 1, f"the system {contract.system!r} has no system.toml"))
            else:
                contracts[contract.id] = contract
                digests[contract.id] = hashlib.sha256(path.read_bytes()).hexdigest()
    problems += _across(contracts)
    return Catalog(
        dict(sorted(contracts.items())), dict(sorted(systems.items())), dict(sorted(digests.items()))
    ), problems


@cache
def catalog() -> Catalog:
    """The catalogue of this process: built in, and the folders of `TWIN_CATALOG`.

    Raises ContractError that lists every fault of every file.
    """
    found, problems = read_catalog((BUILT_IN, *settings().catalog))
    if problems:
        raise ContractError(
            "the catalogue has faults:\n" + "\n".join(map(str, problems)), remedy="Correct them; see CONTRIBUTING.md."
        )
    return found


def _read(path: Path) -> tuple[Contract | None, list[Problem]]:
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        line = re.search(r"line (\d+)", str(error))
        return None, [Problem(path, int(line.group(1)) if line else 1, f"not TOML: {error}")]
    lines = _lines(text)
    problems = [Problem(path, _line(lines, where), what) for where, what in faults(raw)]
    expected = f"{path.parent.name}.{path.stem}"
    if raw.get("id") != expected:
        problems.append(Problem(path, _line(lines, ("id",)), f"the id of this file is {expected!r}"))
    contract = None
    try:
        contract = Contract.model_validate(raw)
    except ValidationError as error:
        problems += [Problem(path, _line(lines, e["loc"]), _words(e["loc"], e["msg"])) for e in error.errors()]
    if contract is not None and not problems:
        gate = "may not be public: {}"
        problems = [Problem(path, _line(lines, ("class",)), gate.format(fault)) for fault in gate_faults(contract)]
    return contract, sorted(problems, key=lambda problem: problem.line)


def _read_system(path: Path) -> tuple[System | None, list[Problem]]:
    try:
        text = path.read_text(encoding="utf-8")
        system = System.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        return None, [Problem(path, 1, f"not TOML: {error}")]
    except ValidationError as error:
        lines = _lines(path.read_text(encoding="utf-8"))
        return None, [Problem(path, _line(lines, e["loc"]), _words(e["loc"], e["msg"])) for e in error.errors()]
    if system.id != path.parent.name:
        return None, [Problem(path, 1, f"the id of this system is {path.parent.name!r}")]
    return system, []


def _across(contracts: dict[str, Contract]) -> Iterator[Problem]:
    """Faults that only show when all contracts are there."""
    owners: dict[str, str] = {}
    for contract in contracts.values():
        path = BUILT_IN / contract.system / f"{contract.name}.toml"
        for rung in contract.place.rungs:
            register = getattr(rung, "register_", None)
            if register is not None and register not in contracts:
                yield Problem(path, 1, f"{contract.id}: the register {register!r} is no dataset")
        yield from (Problem(path, 1, fault) for fault in _rule_faults(contract, contracts))
        if not keeps(contract):
            lacks = "; ".join(title.en for title in quality_of(contract).lacks)
            yield Problem(path, 1, f"{contract.id} promises {contract.quality}, and lacks: {lacks}")
        for indicator in contract.indicators:
            if owners.setdefault(indicator.id, contract.id) != contract.id:
                yield Problem(path, 1, f"the indicator {indicator.id!r} is declared by {owners[indicator.id]} too")


def _rule_faults(contract: Contract, contracts: dict[str, Contract]) -> Iterator[str]:
    for rule in contract.rules:
        area = contracts.get(rule.inside or "")
        if rule.inside is not None and (area is None or area.geometry not in {"polygon", "any"} or area.is_stream):
            yield f"{rule.id}: {rule.inside!r} is no dataset of areas"
        elif area is not None and area.data_class not in {"open", "department"}:
            yield f"{rule.id}: incidents would tell where {area.id} is, which not everybody may know who sees them"
        for text in (rule.open, rule.close):
            try:
                if text is not None:
                    filter_condition(text, contract, dataset_table(contract, _ANY_SRID), _ANY_SRID)
            except (InvalidRequest, LimitExceeded) as error:
                yield f"{rule.id}: {text!r} is no condition over its fields: {error.what}"


def _words(loc: tuple[str | int, ...], message: str) -> str:
    return f"{'.'.join(str(part) for part in loc)}: {message[0].lower()}{message[1:]}"


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    """The line of each key of a TOML text, by its path; inline tables stand on the line of their key."""
    found: dict[tuple[str | int, ...], int] = {}
    prefix: tuple[str | int, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.\-\"]+)\s*\]", line):
            names = tuple(part.strip('"') for part in header.group(2).split("."))
            if header.group(1) == "[[":
                counts[names] = counts.get(names, -1) + 1
                prefix = (*names, counts[names])
            else:
                prefix = names
            found[prefix] = number
        elif key := re.match(r"\s*([\w\-]+|\"[^\"]+\")\s*=", line):
            found[(*prefix, key.group(1).strip('"'))] = number
    return found


def _line(lines: dict[tuple[str | int, ...], int], where: tuple[str | int, ...]) -> int:
    """The line of the longest known part of a path; a missing key is reported where its table starts."""
    aliases = {"data_class": "class", "register_": "register"}
    path = tuple(aliases.get(part, part) if isinstance(part, str) else part for part in where)
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)
