"""Which column of a source is which field of a contract."""

import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from layers.contract import Contract
from layers.rungs import CoordinateRung, columns_of
from twin.errors import SourceError

__all__ = ["Columns", "Headings", "coordinates"]

_REMEDY = "Rename the columns, or add their headings to the contract as aliases."


def coordinates(contract: Contract) -> tuple[str, ...]:
    """The columns that the contract's rungs take coordinates from, each once."""
    rungs = (rung for rung in contract.place.rungs if isinstance(rung, CoordinateRung))
    return tuple(dict.fromkeys(name for rung in rungs for name in (rung.x, rung.y)))


@dataclass(frozen=True, slots=True)
class Columns:
    """`of` leads from a field or coordinate to its column in the source; `unknown` are columns that mean neither."""

    of: dict[str, str]
    unknown: tuple[str, ...]


class Headings:
    """The headings under which a contract's fields and coordinates may stand in a source.

    In order of precedence: the names of `source.map`, field and coordinate names, aliases, Chinese titles, English
    titles. Spaces around a heading and the case of ASCII letters do not matter, nor does full or half width.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._targets: dict[str, tuple[int, str]] = {}
        for rank, tier in enumerate(_tiers(contract)):
            titles = [(_plain(heading), target) for heading, target in tier]
            for heading, target in titles:
                rivals = {other for same, other in titles if same == heading}
                if len(rivals) == 1:  # a title that two fields share names neither
                    self._targets.setdefault(heading, (rank, target))

    def known(self, headings: Iterable[str]) -> int:
        """How many of the headings mean something."""
        return sum(_plain(heading) in self._targets for heading in headings)

    def absent(self, headings: Iterable[str]) -> list[str]:
        """The fields of the key, required fields and coordinates that none of the headings means."""
        found = {self._targets[_plain(heading)][1] for heading in headings if _plain(heading) in self._targets}
        fields = self._contract.fields
        needed = [name for name, field in fields.items() if field.required or name in self._contract.key]
        places = [name for rung in self._contract.place.rungs for name in columns_of(rung)]
        return [name for name in dict.fromkeys((*needed, *places)) if name not in found]

    def match(self, headings: Iterable[str], *, geometry: bool) -> Columns:
        """Find the columns of a source. Of two that mean the same, the one of higher precedence wins.

        `geometry` says whether the records carry one. Raises SourceError when two columns mean the same equally well,
        when a column of the key or of a required field is missing, or when no rung has what it looks at.
        """
        chosen: dict[str, tuple[int, str]] = {}
        unknown: list[str] = []
        for heading in headings:
            rank, target = self._targets.get(_plain(heading), (0, ""))
            rival = chosen.get(target)
            if not target or (rival and rival[0] < rank):
                unknown.append(heading)
                continue
            if rival and rival[0] == rank:
                raise SourceError(f"the columns {rival[1]!r} and {heading!r} both mean {target!r}.", remedy="Keep one.")
            if rival:
                unknown.append(rival[1])
            chosen[target] = (rank, heading)
        columns = Columns({target: heading for target, (_, heading) in chosen.items()}, tuple(unknown))
        self._require_fields(columns)
        self._require_place(columns, geometry=geometry)
        return columns

    def _require_fields(self, columns: Columns) -> None:
        fields, key = self._contract.fields, self._contract.key
        needed = [name for name, field in fields.items() if (field.required or name in key) and name not in columns.of]
        if needed:
            missing = ", ".join(f"{name} ({fields[name].title.zh}, {fields[name].title.en})" for name in needed)
            raise SourceError(f"columns are missing: {missing}. {self._unknown(columns, needed)}", remedy=_REMEDY)

    def _require_place(self, columns: Columns, *, geometry: bool) -> None:
        rungs = [columns_of(rung) for rung in self._contract.place.rungs]
        if any(set(names) <= columns.of.keys() if names else geometry for names in rungs):
            return
        choices = ", or ".join(" and ".join(names) if names else "a geometry" for names in rungs)
        needed = [name for names in rungs for name in names if name not in columns.of]
        raise SourceError(
            f"nothing says where the records are: {choices} is needed. {self._unknown(columns, needed)}", remedy=_REMEDY
        )

    def _unknown(self, columns: Columns, needed: list[str]) -> str:
        """The columns that mean nothing, each with the missing one it may be."""
        candidates = {heading: target for heading, (_, target) in self._targets.items() if target in needed}
        words: list[str] = []
        for heading in columns.unknown:
            close = difflib.get_close_matches(_plain(heading), candidates, n=1)
            words.append(f"{heading} (did you mean {candidates[close[0]]}?)" if close else heading)
        return f"Columns that mean nothing here: {', '.join(words) or 'none'}."


def _tiers(contract: Contract) -> Iterator[list[tuple[str, str]]]:
    """Pairs of heading and target, a list for each rank."""
    fields = contract.fields
    yield [pair for source in contract.source for pair in source.map.items()]
    yield [(name, name) for name in (*fields, *(axis for axis in coordinates(contract) if axis not in fields))]
    yield [(alias, name) for name, field in fields.items() for alias in field.aliases]
    yield [(field.title.zh, name) for name, field in fields.items()]
    yield [(field.title.en, name) for name, field in fields.items()]


def _plain(heading: str) -> str:
    """A heading without differences that mean nothing."""
    text = unicodedata.normalize("NFKC", heading).strip()
    return "".join(character.lower() if character.isascii() else character for character in text)
