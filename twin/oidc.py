"""Tokens of an identity provider (OpenID Connect Core 1.0, Discovery 1.0): the twin keeps no passwords of its own."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt import PyJWKClient

from twin.access import Audience, Caller
from twin.errors import InvalidRequest, NotAllowed, SetupError
from twin.settings import Settings

__all__ = ["Provider", "issuer_of", "provider_of"]

_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
"""Signatures with a key pair only: a public key must never do as the secret of an HMAC."""

_LEEWAY_S = 10
_TIMEOUT_S = 5
_KEYS_HOLD_S = 300
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass(frozen=True)
class Provider:
    """An identity provider: its issuer, what its tokens must be meant for, and which claim names the audience.

    Its keys are looked up at the address its discovery document gives, which has to be on the issuer's own host.
    """

    issuer: str
    audience: str
    roles_claim: str
    _keys: list[PyJWKClient] = field(default_factory=list[PyJWKClient], repr=False, compare=False)

    def read(self, token: str) -> Caller:
        """Whom a token of the provider stands for. Asks the provider for its keys where they are not known yet.

        Raises NotAllowed for a token that is forged, expired, meant for another service or without a known audience,
        and while the provider does not answer.
        """
        try:
            key = self._client().get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token,
                key.key,
                algorithms=_ALGORITHMS,
                issuer=self.issuer,
                audience=self.audience,
                leeway=_LEEWAY_S,
                options={"require": ["iss", "aud", "sub", "exp", "iat"]},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise NotAllowed("the identity provider does not answer.", remedy="Try again in a moment.") from error
        except jwt.PyJWTError as error:
            raise NotAllowed("the token is not valid or has expired.", remedy="Sign in again.") from error
        return Caller(
            self._audience_in(claims), str(claims["sub"]), issued_at=dt.datetime.fromtimestamp(claims["iat"], dt.UTC)
        )

    def _audience_in(self, claims: dict[str, Any]) -> Audience:
        """The first role of the claim that is an audience of ours, other than the public."""
        value: Any = claims
        for part in self.roles_claim.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        for name in value if isinstance(value, list) else [value]:
            try:
                audience = Audience(str(name))
            except InvalidRequest:
                continue
            if audience.name != "public":
                return audience
        raise NotAllowed(
            f"the token names no audience of the twin in {self.roles_claim!r}.",
            remedy="Ask whoever runs the identity provider for a role.",
        )

    def _client(self) -> PyJWKClient:
        if not self._keys:
            self._keys.append(PyJWKClient(self._keys_address(), lifespan=_KEYS_HOLD_S, timeout=_TIMEOUT_S))
        return self._keys[0]

    def _keys_address(self) -> str:
        """Where the provider's keys are, from its discovery document."""
        where = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        document = PyJWKClient(where, cache_jwk_set=False, timeout=_TIMEOUT_S).fetch_data()
        address = document.get("jwks_uri") if isinstance(document, dict) else None
        if not isinstance(address, str) or urlsplit(address)[:2] != urlsplit(self.issuer)[:2]:
            raise NotAllowed("the identity provider's discovery document names no keys of its own.")
        return address


def issuer_of(token: str) -> str | None:
    """Who a token says has issued it: a claim that nothing proves yet; None for what is no token."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return None
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else None


def provider_of(config: Settings) -> Provider | None:
    """The identity provider of the settings; None without one. Raises SetupError for an address that is not safe."""
    if config.oidc_issuer is None:
        return None
    parts = urlsplit(config.oidc_issuer)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise SetupError("an identity provider is asked by https only.", where="TWIN_OIDC_ISSUER")
    return Provider(config.oidc_issuer, config.oidc_audience, config.oidc_roles)
