"""No door fetches an address that a caller gives: a socket listens for it, and nobody comes."""

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import jwt
import pytest

from tests.abuse.conftest import Canaries
from tests.abuse.test_leaks import filled, recipe, routes
from tests.api.city import bearer
from twin.access import PUBLIC, Audience

AUDIENCES = (PUBLIC, Audience("administrator"))
EVERYWHERE = {"f", "lang"}
"""Parameters that doors read without saying so."""

HEADERS = ("Referer", "X-Forwarded-Host", "X-Forwarded-For", "Forwarded", "X-Original-URL", "Twin-Purpose", "Origin")


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A socket of this machine that accepts whoever comes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        listening.settimeout(0)
        yield listening


def visitors(trap: socket.socket) -> int:
    count = 0
    while True:
        try:
            trap.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_the_trap_notices_who_comes(trap: socket.socket) -> None:
    socket.create_connection(trap.getsockname()).close()
    assert visitors(trap) == 1


def parameters(dependant: Any) -> set[str]:
    """The names of all query parameters of a door."""
    found = {parameter.alias for parameter in dependant.query_params}
    return found.union(*(parameters(other) for other in dependant.dependencies))


def addresses(trap: socket.socket) -> list[str]:
    host, port = trap.getsockname()
    there = f"{host}:{port}/x"
    return [f"http://{there}", f"//{there}", f"/vsicurl/http://{there}", f"postgresql://{there}", f"ftp://{there}"]


def test_no_parameter_of_any_door_is_fetched(canaries: Canaries, trap: socket.socket) -> None:
    values = recipe(canaries, "housing.buildings")
    asked = 0
    for route in routes(canaries):
        path = filled(route.path, values)
        for audience in AUDIENCES:
            for address in addresses(trap):
                for name in sorted(parameters(route.dependant) | EVERYWHERE):
                    answer = canaries.client.get(path, params={name: address}, headers=bearer(audience))
                    assert answer.status_code < 500, f"{path} {name}: {answer.text}"
                    asked += 1
    assert asked > 1_000
    assert visitors(trap) == 0


def test_no_part_of_a_path_body_or_header_is_fetched(canaries: Canaries, trap: socket.socket) -> None:
    values = recipe(canaries, "housing.buildings")
    for address in addresses(trap):
        planted = {name: [address] for name in values}
        token = jwt.encode({"iss": address, "sub": "x"}, "k" * 32, headers={"jku": address, "x5u": address})
        for route in routes(canaries):
            path = filled(route.path, values)
            for headers in [{name: address} for name in HEADERS] + [{"Authorization": f"Bearer {token}"}]:
                assert canaries.client.get(path, headers=headers).status_code < 500, path
            for audience in AUDIENCES:
                answer = canaries.client.get(filled(route.path, planted), headers=bearer(audience))
                assert answer.status_code < 500, f"{route.path}: {answer.text}"
                for method in route.methods & {"POST", "PUT"}:
                    body = dict.fromkeys(("audience", "person", "dataset", "area", "name", "geometry"), address)
                    answer = canaries.client.request(method, path, json=body, headers=bearer(audience))
                    assert 400 <= answer.status_code < 500, f"{path}: {answer.text}"
    assert visitors(trap) == 0
