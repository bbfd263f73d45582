"""Audiences: who looks at the city.

An audience is a PostgreSQL role. What a role may not see has no GRANT, so a mistake in a query cannot leak it.
"""

import datetime as dt
import re
from dataclasses import dataclass

import jwt

from twin.errors import InvalidRequest, NotAllowed

__all__ = [
    "FIXED_AUDIENCES",
    "GATE_ROLE",
    "PUBLIC",
    "Audience",
    "department",
    "issue_token",
    "read_token",
]

FIXED_AUDIENCES = ("public", "dispatch", "operations", "planner", "administrator")
GATE_ROLE = "twin_gate"
"""The role every reading connection starts in. It may become an audience and may read nothing itself."""

_DEPARTMENT = re.compile(r"department:([a-z][a-z0-9_]{1,40})")
_TOKEN_ISSUER = "citytwin"  # noqa: S105  (a name, not a secret)


@dataclass(frozen=True, slots=True)
class Audience:
    """One of `public`, `dispatch`, `operations`, `planner`, `administrator` or `department:<system>`.

    Raises InvalidRequest for any other word.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in FIXED_AUDIENCES and not _DEPARTMENT.fullmatch(self.name):
            raise InvalidRequest(
                f"no audience is called {self.name!r}.",
                remedy=f"Use one of {', '.join(FIXED_AUDIENCES)} or department:<system>.",
            )

    @property
    def role(self) -> str:
        """Name of the audience's PostgreSQL role."""
        return "twin_" + self.name.replace(":", "_")

    @property
    def system(self) -> str | None:
        """The system whose department this is; None for the fixed audiences."""
        match = _DEPARTMENT.fullmatch(self.name)
        return match.group(1) if match else None


PUBLIC = Audience("public")


def department(system: str) -> Audience:
    """The audience of the department that runs `system`."""
    return Audience(f"department:{system}")


def issue_token(audience: Audience, secret: str, *, lifetime: dt.timedelta) -> str:
    """A signed token (JWT, HS256) that lets its bearer look as `audience` until it expires."""
    now = dt.datetime.now(dt.UTC)
    claims = {"iss": _TOKEN_ISSUER, "sub": audience.name, "iat": now, "exp": now + lifetime}
    return jwt.encode(claims, secret, algorithm="HS256")


def read_token(token: str, secret: str) -> Audience:
    """The audience of a token made by `issue_token`.

    Raises NotAllowed when it is forged, expired or of another issuer.
    """
    try:
        claims = jwt.decode(
            token, secret, algorithms=["HS256"], issuer=_TOKEN_ISSUER, options={"require": ["exp", "iat", "sub"]}
        )
        return Audience(str(claims["sub"]))
    except (jwt.PyJWTError, InvalidRequest) as error:
        raise NotAllowed(
            "the token is not valid or has expired.", remedy="Ask an administrator for a new one (twin token new)."
        ) from error
