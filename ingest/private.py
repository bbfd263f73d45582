"""Takes out of records what names a person or a device, before they are written or put in quarantine."""

from dataclasses import dataclass

import orjson
import polars as pl

from layers.contract import Contract
from layers.rungs import AreaRung, CellRung, RegisterRung
from twin.pseudonyms import Pseudonyms, mask, redact, redacted

__all__ = ["Protection"]


@dataclass(frozen=True, slots=True)
class Protection:
    """What a contract says of its private fields, applied to frames; `pseudonyms` hold the keys."""

    contract: Contract
    pseudonyms: Pseudonyms

    def records(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Good records, without what names somebody.

        Private fields become pseudonyms where they are part of the key, else masks; what looks like one in other texts
        and in `extra` (JSON) is masked.
        """
        changed: list[pl.Series] = []
        for name, spec in self.contract.fields.items():
            if spec.type != "string" or name not in frame.columns:
                continue
            column = frame[name]
            if spec.private is not None:
                values = [self._hidden(name, value) if value is not None else None for value in column.to_list()]
                changed.append(pl.Series(name, values, dtype=pl.String))
            elif not spec.values and spec.pattern is None and name not in self._names():
                changed.append(redacted(column))
        if "extra" in frame.columns:
            changed.append(redacted(frame["extra"]))
        return frame.with_columns(changed)

    def refused(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Refused records (`detail`, `record` as JSON text), without what names somebody.

        What stands under the name of a private field is gone, whatever it looks like.
        """
        if frame.is_empty():
            return frame
        headings = self._headings()
        rows = [self._refused(detail, record, headings) for detail, record in frame.select("detail", "record").rows()]
        columns = zip(*rows, strict=True)
        names = zip(("detail", "record"), columns, strict=True)
        return frame.with_columns(pl.Series(name, list(values), dtype=pl.String) for name, values in names)

    def _refused(self, detail: str, record: str | None, headings: frozenset[str]) -> tuple[str, str | None]:
        said = orjson.loads(record) if record is not None and headings else None
        if isinstance(said, dict):
            for heading in headings & {str(key).strip().lower() for key in said}:
                for key in [key for key in said if str(key).strip().lower() == heading]:
                    value = str(said[key] or "")
                    said[key] = "•••" if value else said[key]
                    detail = detail.replace(value, "•••") if value else detail
            record = orjson.dumps(said).decode()
        return redact(detail), redact(record) if record is not None else None

    def _hidden(self, name: str, value: str) -> str:
        kind = self.contract.fields[name].private
        if kind is None:
            raise ValueError(f"{name} is not private")
        return self.pseudonyms.of(value, kind) if kind == "mac" or name in self._names() else mask(value, kind)

    def _names(self) -> frozenset[str]:
        """The fields that tell records apart or lead to others: they stay as they are, or become pseudonyms."""
        rungs = self.contract.place.rungs
        ids = {rung.id for rung in rungs if isinstance(rung, RegisterRung | CellRung)}
        return frozenset({*self.contract.key, *ids, *(rung.code for rung in rungs if isinstance(rung, AreaRung))})

    def _headings(self) -> frozenset[str]:
        """What columns of private fields are called in sources."""
        found: set[str] = set()
        for name, spec in self.contract.fields.items():
            if spec.private is not None:
                found |= {name, spec.title.zh, spec.title.en, *spec.aliases}
                for source in self.contract.source:
                    found |= {theirs for theirs, ours in source.map.items() if ours == name}
        return frozenset(word.strip().lower() for word in found)
