"""Audiences: who looks at the city.

An audience is a PostgreSQL role. What a role may not see has no GRANT, so a mistake in a query cannot leak it.
"""

import datetime as dt
import getpass
import hashlib
import re
import secrets
from dataclasses import dataclass

import jwt

from twin.errors import InvalidRequest, NotAllowed

__all__ = [
    "FIXED_AUDIENCES",
    "GATE_ROLE",
    "NOBODY",
    "PUBLIC",
    "Audience",
    "Caller",
    "Grant",
    "department",
    "issue_token",
    "on_this_machine",
    "read_token",
]

FIXED_AUDIENCES = ("public", "dispatch", "operations", "planner", "administrator")
GATE_ROLE = "twin_gate"
"""The role every reading connection starts in. It may become an audience and may read nothing itself."""

_DEPARTMENT = re.compile(r"department:([a-z][a-z0-9_]{1,40})")
_PERSON = re.compile(r"[^\x00-\x20\x7f]{1,120}")
_ALGORITHM = "HS256"
_TOKEN_ISSUER = _TOKEN_AUDIENCE = "citytwin"  # noqa: S105  (a name, not a secret)
_CLAIMS = ("iss", "aud", "sub", "role", "iat", "exp", "jti")


@dataclass(frozen=True, slots=True)
class Grant:
    """A right to read one dataset that somebody was given beside what its contract says; `limited` to an area."""

    number: int
    dataset: str
    limited: bool


@dataclass(frozen=True, slots=True)
class Audience:
    """One of `public`, `dispatch`, `operations`, `planner`, `administrator` or `department:<system>`.

    `grants` are the rights given to it beside those of the contracts. Where some were given to one person in it,
    `person` says who: what they see is theirs alone.

    Raises InvalidRequest for any other word.
    """

    name: str
    person: str = ""
    grants: frozenset[Grant] = frozenset()

    def __post_init__(self) -> None:
        if self.name not in FIXED_AUDIENCES and not _DEPARTMENT.fullmatch(self.name):
            raise InvalidRequest(
                f"no audience is called {self.name[:60]!r}.",
                remedy=f"Use one of {', '.join(FIXED_AUDIENCES)} or department:<system>.",
            )

    @property
    def role(self) -> str:
        """Name of the PostgreSQL role of the audience, or of the person in it who has grants of their own."""
        name = "twin_" + self.name.replace(":", "_")
        return f"{name}__{hashlib.sha256(self.person.encode()).hexdigest()[:8]}" if self.person else name

    @property
    def system(self) -> str | None:
        """The system whose department this is; None for the fixed audiences."""
        match = _DEPARTMENT.fullmatch(self.name)
        return match.group(1) if match else None

    def grants_on(self, dataset: str) -> frozenset[Grant]:
        """The grants that concern a dataset."""
        return frozenset(grant for grant in self.grants if grant.dataset == dataset)


PUBLIC = Audience("public")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a person (empty: nobody known) as an audience, from an address, for a purpose they state.

    `issued_at` is when their token was made; None for the public.
    """

    audience: Audience
    person: str = ""
    address: str = ""
    purpose: str = ""
    issued_at: dt.datetime | None = None


NOBODY = Caller(PUBLIC)


def on_this_machine() -> Caller:
    """Who types a command: whoever may use the state folder is an administrator, under the name they log in with."""
    return Caller(Audience("administrator"), f"cli:{getpass.getuser()}", address="local")


def department(system: str) -> Audience:
    """The audience of the department that runs `system`."""
    return Audience(f"department:{system}")


def issue_token(audience: Audience, secret: str, *, person: str, lifetime: dt.timedelta) -> str:
    """A signed token (JWT, HS256) that lets `person` look as `audience` until it expires.

    Raises InvalidRequest for a name with spaces or control characters, or of more than 120 characters.
    """
    if not _PERSON.fullmatch(person):
        raise InvalidRequest(
            f"{person[:130]!r} cannot be a person's name in a token.", remedy="Use up to 120 characters without spaces."
        )
    now = dt.datetime.now(dt.UTC)
    claims = {
        "iss": _TOKEN_ISSUER,
        "aud": _TOKEN_AUDIENCE,
        "sub": person,
        "role": audience.name,
        "iat": now,
        "exp": now + lifetime,
        "jti": secrets.token_urlsafe(12),
    }
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def read_token(token: str, secret: str) -> Caller:
    """Whom a token made by `issue_token` stands for.

    The algorithm is fixed, whatever the token's header says. Raises NotAllowed when it is forged, expired or of another
    issuer or for another audience of tokens.
    """
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            issuer=_TOKEN_ISSUER,
            audience=_TOKEN_AUDIENCE,
            options={"require": list(_CLAIMS)},
        )
        issued_at = dt.datetime.fromtimestamp(claims["iat"], dt.UTC)
        return Caller(Audience(str(claims["role"])), str(claims["sub"]), issued_at=issued_at)
    except (jwt.PyJWTError, InvalidRequest, ValueError, OverflowError) as error:
        raise NotAllowed(
            "the token is not valid or has expired.", remedy="Ask an administrator for a new one (twin token new)."
        ) from error
