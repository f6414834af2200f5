"""Somebody else's package, as pip would leave it on the disk: modules beside a ``.dist-info`` folder."""

from __future__ import annotations

from pathlib import Path


def install(place: Path, name: str, modules: dict[str, str], entry_points: str) -> Path:
    """Write the distribution ``name`` with ``modules`` (text by module name) into ``place``, which is to
    stand on `sys.path`."""
    place.mkdir(parents=True, exist_ok=True)
    for module, text in modules.items():
        (place / f"{module}.py").write_text(text, encoding="utf-8")
    info = place / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    return place
