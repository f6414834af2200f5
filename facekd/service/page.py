"""The page of the service. It loads nothing from other hosts, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.responses import Response


@cache
def _page() -> tuple[bytes, str]:
    """The page, and a content security policy with the hashes of its script and style."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_hash(text, 'script')}; style-src {_hash(text, 'style')}; "
        "connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy


def _hash(text: str, element: str) -> str:
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def page_response() -> Response:
    content, policy = _page()
    headers = {"content-security-policy": policy, "permissions-policy": "camera=(self), microphone=()"}
    return Response(content, headers=headers, media_type="text/html")
