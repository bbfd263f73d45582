"""Tokens of an identity provider: a real one on loopback, and everything a forger would try."""

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from twin.access import Audience, issue_token
from twin.errors import NotAllowed, SetupError
from twin.oidc import Provider, issuer_of, provider_of
from twin.settings import Settings

RSA, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
CURVE = ec.generate_private_key(ec.SECP256R1())


class LocalProvider:
    """An OpenID provider on loopback: a discovery document and its keys, which a test may change."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"one": RSA, "curve": CURVE}
        self.discovery: Callable[[str], dict[str, Any]] = lambda url: {"issuer": url, "jwks_uri": f"{url}/keys"}
        self.redirect: str | None = None
        self.asked: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if provider.redirect and self.path == "/keys":
                    self.send_response(302)
                    self.send_header("Location", provider.redirect)
                    self.end_headers()
                    return
                found = self.path == "/keys"
                body = {"keys": provider.public()} if found else provider.discovery(provider.url)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def public(self) -> list[dict[str, Any]]:
        """The public keys (JWK)."""
        found: list[dict[str, Any]] = []
        for kid, key in self.keys.items():
            kind = (
                jwt.algorithms.ECAlgorithm
                if isinstance(key, ec.EllipticCurvePrivateKey)
                else jwt.algorithms.RSAAlgorithm
            )
            found.append({**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig"})
        return found

    def claims(self, **more: Any) -> dict[str, Any]:
        """Good claims but for those given; None leaves one out."""
        now = dt.datetime.now(dt.UTC)
        own = {"iss": self.url, "aud": "citytwin", "sub": "wang.wei", "iat": now, "exp": now + dt.timedelta(minutes=5)}
        found = own | {"roles": ["employee", "planner"], **more}
        return {name: value for name, value in found.items() if value is not None}

    def token(self, key: Any = RSA, algorithm: str = "RS256", kid: str = "one", **more: Any) -> str:
        """A signed token."""
        headers = {"kid": kid, **more.pop("headers", {})}
        return jwt.encode(self.claims(**more), key, algorithm=algorithm, headers=headers)


@pytest.fixture
def provider() -> Iterator[LocalProvider]:
    running = LocalProvider()
    yield running
    running.server.shutdown()
    running.server.server_close()


def reader(provider: LocalProvider, **more: str) -> Provider:
    return Provider(provider.url, "citytwin", **{"roles_claim": "roles", **more})


def test_a_good_token_names_a_person_and_an_audience(provider: LocalProvider) -> None:
    caller = reader(provider).read(provider.token())
    assert (caller.person, caller.audience) == ("wang.wei", Audience("planner"))
    assert caller.issued_at is not None
    assert reader(provider).read(provider.token(CURVE, "ES256", "curve")).person == "wang.wei"
    nested = provider.token(roles=None, realm_access={"roles": ["x", "department:environment"]})
    assert reader(provider, roles_claim="realm_access.roles").read(nested).audience == Audience(
        "department:environment"
    )
    assert reader(provider).read(provider.token(roles="dispatch")).audience == Audience("dispatch")


def test_keys_are_asked_for_once_and_new_ones_are_found(provider: LocalProvider) -> None:
    known = reader(provider)
    for _ in range(5):
        known.read(provider.token())
    assert provider.asked == ["/.well-known/openid-configuration", "/keys"]
    provider.keys = {"two": OTHER}
    known._keys[0]._last_successful_fetch = -1e9  # type: ignore[attr-defined]
    assert known.read(provider.token(OTHER, kid="two")).person == "wang.wei"


def forged(provider: LocalProvider) -> dict[str, str]:
    now = dt.datetime.now(dt.UTC)
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    header = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    said = {
        name: value.timestamp() if isinstance(value, dt.datetime) else value
        for name, value in provider.claims().items()
    }
    body = header + b"." + jwt.utils.base64url_encode(json.dumps(said).encode())
    confused = body + b"." + jwt.utils.base64url_encode(key.sign(body, pem))
    elsewhere = {"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/", "jwk": provider.public()[0]}
    return {
        "another key": provider.token(OTHER),
        "another key that brings its own": provider.token(OTHER, headers=elsewhere),
        "no algorithm": jwt.encode(provider.claims(), "", algorithm="none", headers={"kid": "one"}),
        "the public key as a secret": confused.decode(),
        "another audience": provider.token(aud="elsewhere"),
        "another issuer": provider.token(iss="https://elsewhere"),
        "expired": provider.token(exp=now - dt.timedelta(minutes=1)),
        "not yet": provider.token(nbf=now + dt.timedelta(minutes=5)),
        "unknown key": provider.token(kid="three"),
        "a path as key": provider.token(kid="../../etc/passwd"),
        "no role": provider.token(roles=None),
        "no role of ours": provider.token(roles=["employee", "root"]),
        "only the public": provider.token(roles=["public"]),
        "a strange role": provider.token(roles={"planner": True}),
        "no person": provider.token(sub=None),
        "no end": provider.token(exp=None),
        "nonsense": "a.b.c",
        "nothing": "",
    }


FORGERIES = sorted(
    [
        *("another key", "another key that brings its own", "no algorithm", "the public key as a secret"),
        *("another audience", "another issuer", "expired", "not yet", "unknown key", "a path as key", "no role"),
        *("no role of ours", "only the public", "a strange role", "no person", "no end", "nonsense", "nothing"),
    ]
)


@pytest.mark.parametrize("kind", FORGERIES)
def test_forged_tokens_are_refused(provider: LocalProvider, kind: str) -> None:
    tokens = forged(provider)
    assert sorted(tokens) == FORGERIES
    with pytest.raises(NotAllowed):
        reader(provider).read(tokens[kind])


def test_keys_on_another_host_are_not_asked_for(provider: LocalProvider) -> None:
    provider.discovery = lambda _: {"jwks_uri": "http://localhost:9/keys"}
    with pytest.raises(NotAllowed, match="names no keys of its own"):
        reader(provider).read(provider.token())
    provider.discovery = lambda url: {"jwks_uri": f"{url}/keys"}
    provider.redirect = "http://127.0.0.1:9/keys"
    with pytest.raises(NotAllowed):
        reader(provider).read(provider.token())


def test_a_provider_that_is_down_is_said_to_be(provider: LocalProvider) -> None:
    token = provider.token()
    provider.server.shutdown()
    provider.server.server_close()
    with pytest.raises(NotAllowed, match="does not answer"):
        reader(provider).read(token)


def test_only_https_or_loopback() -> None:
    assert provider_of(Settings(oidc_issuer=None)) is None
    for wrong in ("http://example.org", "ftp://127.0.0.1", "example.org"):
        with pytest.raises(SetupError, match="https only"):
            provider_of(Settings(oidc_issuer=wrong))
    found = provider_of(Settings(oidc_issuer="https://id.example.org/realm"))
    assert found is not None
    assert found.roles_claim == "roles"


def test_our_own_tokens_are_told_apart() -> None:
    own = issue_token(Audience("planner"), "s" * 32, person="li.na", lifetime=dt.timedelta(hours=1))
    assert issuer_of(own) == "citytwin"
    assert issuer_of("nonsense") is None
