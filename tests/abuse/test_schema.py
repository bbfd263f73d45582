"""Questions made from the OpenAPI document itself (Schemathesis): no mistake of ours, nothing undocumented."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.abuse.conftest import Canaries
from tests.api.city import bearer
from twin.access import Audience

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
thorough = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", ["public", "administrator"])
def test_every_operation_answers_as_documented(canaries: Canaries, name: str) -> None:
    described = schemathesis.openapi.from_asgi("/api", canaries.app)
    headers = bearer(Audience(name))
    faults: list[str] = []
    asked = 0
    for found in described.get_all_operations():
        operation = found.ok()

        @thorough
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        asked += 1
        try:
            ask()
        except BaseExceptionGroup as error:
            faults.append(f"{operation.label}: " + "; ".join(str(one) for one in error.exceptions))
        except AssertionError as error:
            faults.append(f"{operation.label}: {error}")
    assert asked > 40
    assert not faults, "\n\n".join(faults)
