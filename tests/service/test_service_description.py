"""The OpenAPI document: valid, complete, and enough to make one call of each kind by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")

METHODS = {"get", "post", "delete"}


@pytest.fixture
def description(client) -> dict[str, Any]:
    return client.get("/openapi.json").json()


def operations(description: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {
        operation["operationId"]: (method, path, operation)
        for path, item in description["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_it_is_valid(description: dict[str, Any]) -> None:
    validate = pytest.importorskip("openapi_spec_validator").validate
    validate(description)


def test_it_has_every_operation_with_its_failures(description: dict[str, Any]) -> None:
    found = operations(description)
    assert set(found) == {
        "health", "ready", "metrics", "verify", "identify", "enroll", "list_people", "show_person",
        "remove_person",
    }  # fmt: skip
    for name, (_, path, operation) in found.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["security"], name
        if not path.startswith("/v1/"):
            continue
        failures = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert {"401", "403", "409", "422", "429", "503"} <= set(failures), name
        for status, answer in failures.items():
            assert answer["content"]["application/json"]["schema"] == {
                "$ref": "#/components/schemas/FailureDocument"
            }, (name, status)


class Client:
    """What a generator makes of the document: a function of each operation."""

    def __init__(self, client: Any, description: dict[str, Any]) -> None:
        self._client, self._operations = client, operations(description)
        self._schemas = description

    def __call__(self, called: str, body: dict[str, Any] | None = None, /, **parameters: Any) -> Any:
        method, path, operation = self._operations[called]
        query = {}
        for parameter in operation.get("parameters", []):
            given = parameters.pop(parameter["name"], None)
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", given)
            elif given is not None:
                query[parameter["name"]] = given
        assert not parameters, "the document has no such parameter"
        answer = self._client.request(method, path, params=query, **self._form(operation, body or {}))
        self._check(operation, answer)
        return answer

    def _form(self, operation: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        if not body:
            assert "requestBody" not in operation
            return {}
        schema = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert set(schema["required"]) <= set(body) <= set(schema["properties"])
        files, data = [], {}
        for name, value in body.items():
            what = schema["properties"][name]
            if what["type"] == "array":
                files += [(name, ("p", one)) for one in value]
            elif what.get("format") == "binary":
                files.append((name, ("p", value)))
            else:
                data[name] = value
        return {"files": files, "data": data}

    def _check(self, operation: dict[str, Any], answer: Any) -> None:
        """The answer is one that the document describes."""
        from jsonschema import Draft202012Validator

        described = operation["responses"][str(answer.status_code)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        if kind == "application/json":
            schema = described[kind]["schema"] | {"components": self._schemas["components"]}
            Draft202012Validator(schema).validate(answer.json())
        else:
            assert kind in described


def test_one_call_of_each_kind(client, description: dict[str, Any], photos: Path) -> None:
    pytest.importorskip("jsonschema")
    call = Client(client, description)
    a, b, blank = ((photos / f"{name}.jpg").read_bytes() for name in ("a", "b", "blank"))
    assert call("health").json() == {"status": "ok"}
    assert call("ready").status_code == 200
    assert call("enroll", {"photos": [a, b]}, name="Ann", on_many="best").json()["added"] == 2
    assert call("verify", {"photo": a, "other": b}).json()["same"] is True
    assert call("verify", {"photo": a, "name": "Ann"}).json()["claim"] == "Ann"
    assert call("identify", {"photo": b}, top=3).json()["candidates"][0]["name"] == "Ann"
    assert len(call("list_people").json()["people"]) == 1
    assert len(call("show_person", name="Ann").json()["photos"]) == 2
    assert call("enroll", {"photos": [a]}, name="Bo").status_code == 409
    assert call("identify", {"photo": blank}).status_code == 422
    assert call("remove_person", name="Ann").json()["templates"] == 2
    assert call("remove_person", name="Ann").status_code == 404
    assert "facekd_requests_total" in call("metrics").text
