"""The page: it asks nothing of anywhere else, and works in a browser at desk and phone width."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browser import Browser

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


@pytest.fixture
def browser(tmp_path: Path, photos: Path) -> Iterator[Browser]:
    one = Browser(tmp_path, photos / "a.jpg")
    yield one
    one.close()


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 900, False), (390, 844, True)])
def test_a_person_is_enrolled_by_camera_and_verified_by_file(
    served: Callable[..., int], browser: Browser, photos: Path, width: int, height: int, dark: bool
) -> None:
    address = f"http://127.0.0.1:{served()}/"
    browser.open(address, width, height, dark)
    browser.run("find('name').value = 'Ann Lee'; find('camera').click()")
    browser.until("!find('take').hidden && find('video').videoWidth > 0")
    browser.run("find('take').click()")
    browser.until("!find('shown').hidden")
    assert _asked(browser, "enroll").startswith("Enrolled Ann Lee\n1 in the gallery")

    browser.choose("#file", photos / "b.jpg")
    assert _asked(browser, "verify").startswith("Same person as Ann Lee\nScore 0.9")
    assert "Ann Lee: score 0.9" in _asked(browser, "identify")
    browser.choose("#file", photos / "blank.jpg")
    assert "no face" in _asked(browser, "verify")
    # a name is text, not HTML
    browser.run("find('name').value = '<img src=x>'")
    browser.choose("#file", photos / "b.jpg")
    assert "<img src=x>" in _asked(browser, "verify")
    assert browser.run("find('answer').querySelector('img') === null")

    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("getComputedStyle(find('answer')).backgroundColor") == (
        "rgb(34, 38, 44)" if dark else "rgb(242, 244, 247)"
    )
    assert all(one.startswith((address, f"blob:{address}", "data:")) for one in browser.requests)
    assert browser.faults == []


def _asked(browser: Browser, button: str) -> str:
    """What the page answers after a button was pressed."""
    browser.run(f"find('{button}').click()")
    browser.until("!find('verify').disabled && !find('answer').innerText.startsWith('Asking')")
    return str(browser.run("find('answer').innerText"))
