"""The OpenAPI document: valid, complete, and sufficient to make a call of each kind."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from facekd.service import Token

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")

METHODS = {"get", "post", "delete"}
SECRET = "of the test"
TOKENS = (Token("test", hashlib.sha256(SECRET.encode()).digest()),)
CALLS = Path(__file__).parents[1] / "generated_client_calls.py"


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
        if not path.startswith("/v1/"):
            continue
        failures = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert {"401", "403", "409", "422", "429", "503"} <= set(failures), name
        for status, answer in failures.items():
            assert answer["content"]["application/json"]["schema"] == {
                "$ref": "#/components/schemas/FailureDocument"
            }, (name, status)


@pytest.mark.parametrize(
    ("tokens", "needed"), [((), [{"HTTPBearer": []}, {}]), (TOKENS, [{"HTTPBearer": []}])]
)
def test_it_says_where_a_token_is_needed(made: Callable, tokens: tuple[Token, ...], needed: list) -> None:
    client, service = made(tokens=tokens)
    description = service.api.openapi()
    assert description["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    for name, (method, path, operation) in operations(description).items():
        anybody = name in ("health", "ready")
        assert operation.get("security") == (None if anybody else needed), name
        assert ("401" in operation["responses"]) != anybody, name
        answer = client.request(method, path.replace("{name}", "Bo"))
        assert (answer.status_code == 401) == (bool(tokens) and not anybody), name


def test_it_says_when_to_try_again(description: dict[str, Any]) -> None:
    for name, (_, _, operation) in operations(description).items():
        for status in {"429", "503"} & set(operation["responses"]):
            assert "Retry-After" in operation["responses"][status]["headers"], (name, status)


class Client:
    """What a generator makes of the document: a function of each operation, which sends the ``token`` where
    the document asks for one."""

    def __init__(self, client: Any, description: dict[str, Any], token: str) -> None:
        self._client, self._operations = client, operations(description)
        self._schemas, self._token = description, token

    def __call__(self, called: str, body: dict[str, Any] | None = None, /, **parameters: Any) -> Any:
        method, path, operation = self._operations[called]
        query = {}
        for parameter in operation.get("parameters", []):
            given = parameters.pop(parameter["name"], None)
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", quote(given, safe=""))
            elif given is not None:
                query[parameter["name"]] = given
        assert not parameters, "the document has no such parameter"
        answer = self._client.request(
            method, path, params=query, headers=self._headers(operation), **self._form(operation, body or {})
        )
        self._check(operation, answer)
        return answer

    def _headers(self, operation: dict[str, Any]) -> dict[str, str]:
        schemes = self._schemas["components"]["securitySchemes"]
        needed = [schemes[name] for one in operation.get("security", []) for name in one]
        assert all((one["type"], one["scheme"]) == ("http", "bearer") for one in needed)
        return {"authorization": f"Bearer {self._token}"} if needed else {}

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


def test_one_call_of_each_kind(made: Callable, photos: Path) -> None:
    pytest.importorskip("jsonschema")
    client, service = made(tokens=TOKENS)
    call = Client(client, service.api.openapi(), SECRET)
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
    assert call("show_person", name="Ann Lee/9%").status_code == 404
    assert "facekd_requests_total" in call("metrics").text
    assert Client(client, service.api.openapi(), "wrong")("list_people").status_code == 401


def test_one_call_of_each_kind_through_a_generated_client(
    made: Callable, served: Callable[..., int], photos: Path, tmp_path: Path
) -> None:
    generator = shutil.which("openapi-python-client")
    if generator is None:
        pytest.skip("openapi-python-client, which generates the client, is not on the PATH")
    (tmp_path / "document.json").write_text(json.dumps(made(tokens=TOKENS)[1].api.openapi()))
    command = [generator, "generate", "--path", tmp_path / "document.json", "--meta", "none",
               "--output-path", tmp_path / "facekd_client"]  # fmt: skip
    generated = subprocess.run(command, capture_output=True, text=True)
    assert generated.returncode == 0, generated.stderr
    python = Path(generator).with_name("python")
    address = f"http://127.0.0.1:{served(tokens=TOKENS)}"
    ran = subprocess.run([python, CALLS, tmp_path, address, SECRET, photos], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "health": "ok", "ready": "ready", "unknown": "token", "enrolled": 2, "two": True,
        "claim": "Ann Lee/9", "found": ["Ann Lee/9"], "people": ["Ann Lee/9"], "photos": 2,
        "conflict": "other_person", "blank": "no_face", "removed": 2, "gone": "unknown_person",
        "metrics": True,
    }  # fmt: skip
