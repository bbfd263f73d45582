"""Errors of the City Twin.

Every error says what happened, where, and what to do. Two markers say whether trying again can help:

    TwinError
    ├── Terminal                 the same input fails again
    │   ├── ContractError        a dataset contract is wrong
    │   ├── DestructiveChange    a contract change would lose stored data
    │   ├── SourceError          a file or message cannot be read at all
    │   │   └── FrameError       a device's message is cut off, or none of its protocol
    │   ├── DatumError           coordinates without a usable datum
    │   ├── GeometryError        a geometry that cannot be used
    │   ├── InvalidRequest       a question that makes no sense
    │   ├── LimitExceeded        a question or input larger than allowed
    │   ├── NotFound             nothing of that name (or none you may see)
    │   ├── NotAllowed           the audience may not do this
    │   ├── Conflict             it is not as the question takes for granted
    │   └── SetupError           the machine lacks something this needs
    └── Transient                the same input may pass later
        ├── DatabaseUnavailable  PostgreSQL does not answer
        ├── SourceUnavailable    what is asked for data does not answer
        ├── DiskFull             there is too little room on the disk to take anything in
        └── AuditUnavailable     what is done cannot be put on record, so it is not done

The layers below the API know nothing of HTTP: `api/problems.py` maps this tree to status codes.
"""

__all__ = [
    "AuditUnavailable",
    "Conflict",
    "ContractError",
    "DatabaseUnavailable",
    "DatumError",
    "DestructiveChange",
    "DiskFull",
    "FrameError",
    "GeometryError",
    "InvalidRequest",
    "LimitExceeded",
    "NotAllowed",
    "NotFound",
    "SetupError",
    "SourceError",
    "SourceUnavailable",
    "Terminal",
    "Transient",
    "TwinError",
]


class TwinError(Exception):
    """Base of all errors of the City Twin.

    `what` says what is wrong, `where` names the file, field or record, `remedy` says what to do about it.
    """

    code = "error"

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{advice}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not pickle by themselves; workers send errors across processes.
        return _restore, (type(self), self.what, self.where, self.remedy)


def _restore(kind: type[TwinError], what: str, where: str, remedy: str) -> TwinError:
    return kind(what, where=where, remedy=remedy)


class Terminal(TwinError):
    """The same input fails again: quarantine it or tell the person."""


class Transient(TwinError):
    """The same input may pass later: try again with a pause."""


class ContractError(Terminal):
    """A dataset contract is wrong; `what` lists every fault, one a line."""

    code = "contract-invalid"


class DestructiveChange(Terminal):
    """Applying a contract would drop or rewrite stored data; `what` is the difference."""

    code = "destructive-change"


class SourceError(Terminal):
    """A file or message cannot be read at all: nothing of it entered the twin but its raw bytes."""

    code = "source-unreadable"


class FrameError(SourceError):
    """A message of a device that cannot be read: cut off, wrong check sum, or not of its protocol."""

    code = "message-unreadable"


class DatumError(Terminal):
    """Coordinates whose datum is not said, is unknown, or lacks the parameters to convert it."""

    code = "datum-unusable"


class GeometryError(Terminal):
    """A geometry that cannot be used and was not repaired."""

    code = "geometry-unusable"


class InvalidRequest(Terminal):
    """A question whose words or values make no sense."""

    code = "invalid-request"


class LimitExceeded(Terminal):
    """A question or an input larger than the twin accepts."""

    code = "limit-exceeded"


class NotFound(Terminal):
    """Nothing of that name exists, or none that this audience may know of."""

    code = "not-found"


class NotAllowed(Terminal):
    """The audience may not do this."""

    code = "not-allowed"


class Conflict(Terminal):
    """What is asked for no longer fits what is there: somebody else changed it, or it has been done already."""

    code = "conflict"


class SetupError(Terminal):
    """The machine lacks something the twin needs; `remedy` is the command to run."""

    code = "setup-incomplete"


class DatabaseUnavailable(Transient):
    """PostgreSQL does not answer, or dropped the connection."""

    code = "database-unavailable"


class SourceUnavailable(Transient):
    """Another system that is asked for its data does not answer, or not now."""

    code = "source-unavailable"


class DiskFull(Transient):
    """There is too little room on the disk: nothing more is taken in until there is."""

    code = "disk-full"


class AuditUnavailable(Transient):
    """The audit log cannot be written: what would have to stand in it is refused."""

    code = "audit-unavailable"
