"""Coverage-guided fuzzing of everything that reads a file which may come from anybody.

    pip install atheris
    python tools/fuzz.py
    python tools/fuzz.py --target bin --target archive --seconds 120 --json
    python tools/fuzz.py --keep found/

Atheris changes inputs so that ever more branches of facekd and of Pillow's Python code are reached. A target
reads an input as facekd's commands read such a file; it begins with files that this tool makes. The time is
shared evenly by the targets, each in a process of its own, bounded in memory. A reader may refuse an input
with one of facekd's errors that ends with exit code 2 to 5. Anything else that it raises is a finding, and so
are a crash of the process, an input that takes a minute and one that takes more memory than the bound.

Prints a table and ends with 1 where there is a finding. ``--keep`` writes the input of each into a folder.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import re
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

#: seconds that reading an input may take, and megabytes that the process may take
SLOW, MEMORY = 60, 1500
#: where an ONNX file has its card
CARD = "facekd.card"
#: between the parts of an input that stands for two files
CUT = b"\n=== the index ===\n"


@dataclass(frozen=True)
class Finding:
    """``error`` is the exception and ``where`` the line of facekd that it came through; ``data`` the input
    in base64."""

    error: str
    where: str
    data: str


@dataclass(frozen=True)
class Fuzzed:
    """What came of a target: inputs that were read, how many of them were kept because they reached something
    new, and how many a reader accepted."""

    target: str
    seconds: float
    executions: int
    kept: int
    accepted: int
    findings: tuple[Finding, ...]


Reader = Callable[[bytes, Path], None]


@dataclass(frozen=True)
class Target:
    """``read`` reads an input as a command would, with a folder for files; ``seeds`` makes inputs, and none
    has more bytes than ``longest``."""

    read: Reader
    seeds: Callable[[], Iterator[bytes]]
    longest: int = 1 << 16


# what is read ------------------------------------------------------------------------------------------


def read_photo(data: bytes, _: Path) -> None:
    from facekd.preprocess import decode

    decode(data, "photo")


def read_model(data: bytes, folder: Path) -> None:
    from facekd.card import read_card

    read_card(_file(folder / "model.onnx", data))


def read_stated_card(data: bytes, _: Path) -> None:
    """The input is the card of a network that is sound."""
    from facekd.card import card_of, load_onnx

    network = load_onnx(_small_model())
    entry = next(one for one in network.metadata_props if one.key == CARD)
    entry.value = data.decode("utf-8", "replace")
    card_of(network, "model")


def read_zip(data: bytes, folder: Path) -> None:
    _read_all(_file(folder / "pack.zip", data))


def read_records(data: bytes, folder: Path) -> None:
    records, _, index = data.partition(CUT)
    place = folder / "pack.idx"
    place.unlink(missing_ok=True)
    if index:
        _file(place, index)
    _read_all(_file(folder / "pack.rec", records))


def read_bin(data: bytes, folder: Path) -> None:
    _read_all(_file(folder / "pack.bin", data))


def read_archive(data: bytes, folder: Path) -> None:
    """As it came, then with the sum in its last line put right, which no chance would."""
    from facekd.errors import FacekdError
    from facekd.workflows import import_archive

    gallery = folder / "gallery.db"
    for content in (data, _summed(data)):
        try:
            import_archive(_file(folder / "archive.jsonl", content), gallery)
        except FacekdError:
            if content is not data:
                raise
        finally:
            for file in folder.glob("gallery.db*"):
                file.unlink()


def read_gallery(data: bytes, folder: Path) -> None:
    from facekd.gallery import GalleryCheck, GalleryRecords

    gallery = _file(folder / "read.db", data)
    try:
        for _ in GalleryCheck(gallery).faults():
            pass
        with GalleryRecords(gallery, read_only=True) as records:
            for person in records.people():
                for _ in records.templates(person.name):
                    pass
    finally:
        for file in folder.glob("read.db*"):
            file.unlink()


def read_lists(data: bytes, folder: Path) -> None:
    from facekd.errors import FacekdError
    from facekd.verification import read_scores
    from facekd.workflows import pairs_listed, people_listed, read_listing

    listing = read_listing(_file(folder / "list.csv", data))
    for read in (people_listed, pairs_listed):
        with suppress(FacekdError):
            read(listing)
    read_scores(folder / "list.csv")


def _read_all(pack: Path) -> None:
    """Every name and image, and whose it is."""
    from facekd.preprocess import identities_in, open_source

    source = open_source(pack)
    for name in source.names():
        source.read(name)
    identities_in(source)


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _summed(archive: bytes) -> bytes:
    body, found, _ = archive.rpartition(b'{"sha256"')
    total = hashlib.sha256(body).hexdigest()
    return body + json.dumps({"sha256": total}).encode() + b"\n" if found else archive


# what it begins with -----------------------------------------------------------------------------------


def photos() -> Iterator[bytes]:
    from PIL import Image

    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    colours = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = Image.fromarray(colours)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(colours[..., 0].astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [image.rotate(90)], "duration": 50}
    for kind, picture, settings in (
        ("JPEG", image, {"exif": exif}), ("JPEG", image.convert("CMYK"), {}),
        ("JPEG", image.convert("L"), {"progressive": True}), ("PNG", image, {"exif": exif}),
        ("PNG", deep, {}),
        ("PNG", image.convert("P"), {"transparency": 0}), ("PNG", image, frames), ("GIF", image, frames),
        ("WEBP", image, {}), ("WEBP", image, frames), ("BMP", image, {}), ("PPM", image, {}),
        ("TIFF", image, {"exif": exif}), ("TIFF", deep, {}), ("TIFF", image, {"compression": "tiff_lzw"}),
        ("AVIF", image, {}), ("HEIF", image, {}),
    ):  # fmt: skip
        written = io.BytesIO()
        with suppress(KeyError, OSError):  # a Pillow without this format
            picture.save(written, kind, **settings)
            yield written.getvalue()


def models() -> Iterator[bytes]:
    yield _small_model().read_bytes()


def cards() -> Iterator[bytes]:
    from facekd.card import load_onnx
    from facekd.weights import shipped_model

    for model in filter(None, (_small_model(), shipped_model())):
        for entry in load_onnx(model).metadata_props:
            if entry.key == CARD:
                yield entry.value.encode()


def zips() -> Iterator[bytes]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", method) as pack:
            for name in ("ann/1.jpg", "bob/../2.jpg", "/root/3.png", "\u00e9.webp", "notes.txt"):
                pack.writestr(name, b"pixels " * 9)
        yield written.getvalue()


def records() -> Iterator[bytes]:
    from facekd.preprocess import Image, write_records

    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder) / "pack.rec"
        pictures = ((b"one", "Ann"), (b"\x0a\x23\xd7\xce" * 2, "Ann"), (b"nobody", None), (b"", "Bo"))
        write_records(pack, (Image(*picture) for picture in pictures))
        yield pack.read_bytes()
        yield pack.read_bytes() + CUT + pack.with_suffix(".idx").read_bytes()


def bins() -> Iterator[bytes]:
    images = [b"\xff\xd8 first", b"second", b"third \x00", b"fourth"]
    rows = [np.frombuffer(image, np.uint8) for image in images]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps((images, [True, False]), protocol)
        yield pickle.dumps((rows, np.array([True, False])), protocol)


def archives() -> Iterator[bytes]:
    from facekd.workflows import export_gallery

    with tempfile.TemporaryDirectory() as folder:
        gallery, archive = _small_gallery(Path(folder)), Path(folder) / "archive.jsonl"
        export_gallery(gallery, archive)
        yield archive.read_bytes()


def galleries() -> Iterator[bytes]:
    from facekd.gallery import back_up

    with tempfile.TemporaryDirectory() as folder:
        back_up(_small_gallery(Path(folder)), Path(folder) / "copy.db")
        yield (Path(folder) / "copy.db").read_bytes()


def lists() -> Iterator[bytes]:
    yield b'name,photo\nAnn,ann/1.jpg\n"Bo, Lee",bo.jpg\n'
    yield b"a,b,label\na.jpg,b.jpg,1\n,,\n"
    yield b'{"a": "a.jpg", "b": "b.jpg"}\n'
    yield b"score,label\n0.5,1\n-0.1,0\n,0\n"


def _small_gallery(folder: Path) -> Path:
    """Two people, and one who was removed."""
    from facekd.gallery import Contract, GalleryRecords, Template

    gallery, random = folder / "small.db", np.random.default_rng(0)
    with GalleryRecords(gallery, Contract("a" * 64, 8, "small", "mtcnn", "arcface"), create=True) as records:
        for number, name in enumerate(("Ann", "Bo", "Cy")):
            row = random.normal(size=8)
            template = Template((row / np.linalg.norm(row)).astype(np.float32), f"{number:064x}", 0.5)
            with records.transaction():
                records.add(name, [template])
        with records.transaction():
            records.remove("Cy")
    return gallery


_MODELS: list[Path] = []


def _small_model() -> Path:
    """A network of a few kilobytes with its card, made once in a process."""
    if not _MODELS:
        from onnx import TensorProto, helper, numpy_helper, save

        from facekd.card import card_of, load_onnx, write_card

        weights = np.random.default_rng(0).normal(size=(3 * 14 * 14, 4)).astype(np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("AveragePool", ["crops"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
                helper.make_node("Flatten", ["blocks"], ["row"]),
                helper.make_node("Gemm", ["row", "weights"], ["embedding"]),
            ],
            "small",
            [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["N", 3, 112, 112])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 4])],
            [numpy_helper.from_array(weights, "weights")],
        )
        path = Path(tempfile.mkdtemp(prefix="facekd-fuzz-")) / "small.onnx"
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        network = load_onnx(path)
        write_card(network, card_of(network, "small")[0], path)
        _MODELS.append(path)
    return _MODELS[0]


TARGETS = {
    "photo": Target(read_photo, photos),
    "model": Target(read_model, models),
    "card": Target(read_stated_card, cards),
    "zip": Target(read_zip, zips),
    "recordio": Target(read_records, records),
    "bin": Target(read_bin, bins),
    "archive": Target(read_archive, archives),
    "gallery": Target(read_gallery, galleries, longest=1 << 18),
    "lists": Target(read_lists, lists),
}


# one target, in a process of its own -------------------------------------------------------------------


class Watch:
    """Reads inputs by a target, and writes what it raised that is none of facekd's refusals to a file, each
    place once."""

    def __init__(self, read: Reader, work: Path) -> None:
        self._read, self._work = read, work
        self._files = work / "files"
        self._files.mkdir()
        self._seen: set[tuple[str, str]] = set()
        # in shared memory: libFuzzer ends the process without a word to Python
        self._accepted = np.memmap(work / "accepted", np.int64, "w+", shape=1)

    def __call__(self, data: bytes) -> None:
        from facekd.errors import Exit, FacekdError

        try:
            self._read(data, self._files)
            self._accepted[0] += 1
        except FacekdError as refused:
            if not Exit.USAGE <= refused.exit_code <= Exit.IO:
                self._note(refused, data)
        except Exception as error:
            self._note(error, data)

    def _note(self, error: Exception, data: bytes) -> None:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if "facekd" in one.filename]
        last = frames[-1]
        place = f"{'/'.join(Path(last.filename).parts[-2:])}:{last.lineno}"
        told = type(error).__name__
        if (told, place) not in self._seen:
            self._seen.add((told, place))
            found = Finding(f"{told}: {str(error)[:200]}", place, base64.b64encode(data).decode())
            with (self._work / "findings").open("a") as file:
                file.write(json.dumps(asdict(found)) + "\n")


def fuzz_inside(name: str, work: Path, seconds: int, seed: int) -> None:
    """Fuzz a target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["facekd", "PIL"], enable_loader_override=False):
        import PIL.Image

        import facekd.card
        import facekd.gallery
        import facekd.preprocess
        import facekd.verification
        import facekd.workflows  # noqa: F401

        PIL.Image.init()
        target = TARGETS[name]
        corpus = work / "corpus"
        corpus.mkdir()
        for number, data in enumerate(target.seeds()):
            _file(corpus / f"seed-{number}", data)
        # a first reading imports what readers import at their first call
        for file in sorted(corpus.iterdir()):
            with suppress(Exception):
                (work / "first").mkdir(exist_ok=True)
                target.read(file.read_bytes(), work / "first")
    options = {
        "max_total_time": seconds, "max_len": target.longest, "timeout": SLOW, "rss_limit_mb": MEMORY,
        "seed": seed, "print_final_stats": 1, "verbosity": 1,
    }  # fmt: skip
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup(
        [sys.argv[0], *arguments, f"-artifact_prefix={work}/", str(corpus)], Watch(target.read, work)
    )
    atheris.Fuzz()


# all targets -------------------------------------------------------------------------------------------


def fuzz(name: str, seconds: int, seed: int) -> Fuzzed:
    """Fuzz a target for so many seconds in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="facekd-fuzz-") as folder:
        work = Path(folder)
        command = [sys.executable, __file__, "--inside", folder, "--target", name]
        began = time.monotonic()
        ran = subprocess.run(
            [*command, "--seconds", str(seconds), "--seed", str(seed)], capture_output=True, text=True,
            errors="replace",
        )  # fmt: skip
        took = time.monotonic() - began
        findings = [Finding(**json.loads(line)) for line in _lines(work / "findings")]
        findings += [
            Finding(f"the process ended: {file.name.partition('-')[0]}", _last(ran.stderr),
                    base64.b64encode(file.read_bytes()).decode())
            for kind in ("crash", "oom", "timeout", "leak") for file in work.glob(f"{kind}-*")
        ]  # fmt: skip
        if ran.returncode and not findings:
            raise click.ClickException(f"{name} could not be fuzzed: {ran.stderr[-2000:]}")
        return Fuzzed(
            name,
            took,
            _stated(ran.stderr, "number_of_executed_units"),
            len(list((work / "corpus").iterdir())),
            int(np.fromfile(work / "accepted", np.int64)[0]),
            tuple(findings),
        )


def _stated(told: str, what: str) -> int:
    found = re.findall(rf"stat::{what}:\s+(\d+)", told)
    return int(found[-1]) if found else 0


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _last(told: str) -> str:
    """The line that says why the process ended."""
    errors = [line for line in told.splitlines() if "ERROR" in line or "SUMMARY" in line]
    return (errors or told.strip().splitlines() or [""])[0][:200]


def row(found: Fuzzed) -> str:
    cells = (
        found.target, f"{found.seconds:.0f}", f"{found.executions:,}", f"{found.kept:,}",
        f"{found.accepted:,}", str(len(found.findings)),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


@click.command()
@click.option("--target", "targets", multiple=True, type=click.Choice(list(TARGETS)),
              help="Fuzz just this reader; repeatable.")  # fmt: skip
@click.option("--seconds", type=click.IntRange(1), default=600, show_default=True,
              help="Of all targets together.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Of what is changed by chance.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Write findings' inputs here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
@click.option("--inside", type=click.Path(exists=True, file_okay=False, path_type=Path), hidden=True)
def main(
    targets: tuple[str, ...], seconds: int, seed: int, keep: Path | None, as_json: bool, inside: Path | None
) -> None:
    """Fuzz the targets and print what came of it."""
    if inside is not None:
        fuzz_inside(targets[0], inside, seconds, seed)
        return
    names = targets or tuple(TARGETS)
    found = []
    if not as_json:
        click.echo(
            "| target | s | executions | kept | accepted | findings |\n| --- | --- | --- | --- | --- | --- |"
        )
    for name in names:
        found.append(fuzz(name, max(1, seconds // len(names)), seed))
        if not as_json:
            click.echo(row(found[-1]))
            for finding in found[-1].findings:
                click.echo(f"  {finding.error} ({finding.where})", err=True)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        for one in found:
            for number, finding in enumerate(one.findings):
                _file(keep / f"{one.target}-{number}", base64.b64decode(finding.data))
    raise SystemExit(1 if any(one.findings for one in found) else 0)


if __name__ == "__main__":
    main()
