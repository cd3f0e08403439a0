"""The description of the API is true: whatever it lets one ask is answered as it says."""

from __future__ import annotations

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode
from starlette.testclient import TestClient

from counterpoint.serving import Index, app
from fixtures.served import served

ROUTES = (
    *(
        "POST /v1/embeddings",
        "POST /v1/search",
        "POST /v1/zero-shot",
        "GET /v1/models",
        "GET /v1/about",
        "GET /v1/map",
    ),
    *("GET /v1/items/{id}", "GET /v1/items/{id}/picture", "GET /v1/items/{id}/sound"),
    *("GET /health", "GET /ready", "GET /metrics"),
)
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
"""Checks of answers. Others would take a condition or a picture that has the right form and means nothing for one that
must be accepted."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return served(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def described(index: Index) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", app(index, hosts=("testserver",)))


def test_every_route_is_described(index: Index) -> None:
    paths = TestClient(app(index), base_url="http://127.0.0.1").get("/openapi.json").json()["paths"]
    told = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert told == set(ROUTES)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_as_documented(
    route: str, mode: GenerationMode, described: schemathesis.BaseSchema
) -> None:
    method, _, path = route.partition(" ")
    operation = described[path][method]
    checks = [CHECKS.get_one(name) for name in CHECKED]
    asked = []

    @hypothesis.settings(
        max_examples=25, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        asked.append(case.call_and_validate(checks=checks).status_code)

    try:
        ask()
    except hypothesis.errors.Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing can be wrong in a route without parameters"
        return
    if mode is GenerationMode.POSITIVE and "POST" not in route and "{" not in route and path != "/v1/map":
        assert set(asked) == {200}
