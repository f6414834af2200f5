"""Images for schemathesis to send to the service: files that look like one, real photos, and photos with a
few bytes changed. schemathesis loads this module (``SCHEMATHESIS_HOOKS``); the photos are those in the folder
``FACEKD_FUZZ_PHOTOS``."""

from __future__ import annotations

import os
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

PHOTOS = [path.read_bytes() for path in sorted(Path(os.environ["FACEKD_FUZZ_PHOTOS"]).rglob("*.jpg"))]
HEADS = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\x10\x00\x00\x00WEBP",
    b"GIF89a",
    b"BM",
    b"II*\x00",
    b"P6\n",
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    photo = bytearray(draw(st.sampled_from(PHOTOS)))
    for place in draw(st.lists(st.integers(0, len(photo) - 1), min_size=1, max_size=8)):
        photo[place] = draw(st.integers(0, 255))
    return bytes(photo[: draw(st.integers(1, len(photo)))])


headed = st.builds(bytes.__add__, st.sampled_from(HEADS), st.binary(max_size=300))
schemathesis.openapi.media_type("image/*", st.one_of(st.sampled_from(PHOTOS), headed, damaged()))
