"""The page: it asks nothing of anywhere else, and works in a browser at desk and phone width."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")


def test_nothing_comes_from_elsewhere(client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.findall(r"https?:|//[a-z]", answer.text)
    assert re.findall(r'(?:src|href)="([^"]*)"', answer.text) == ["data:,"]
    assert not re.search(r"\son\w+=|style=|innerHTML|eval\(", answer.text)


def test_its_policy_names_its_own_script_and_style(client) -> None:
    answer = client.get("/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for element in ("script", "style"):
        (content,) = re.findall(f"<{element}>(.*?)</{element}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{element}-src"] == f"'sha256-{digest}'"
