"""Training data as files: convert it between formats, and search it for the people of a test set."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facekd.errors import InputOutput, Misfit, Unreadable, UsageError
from facekd.files import is_utf8, target_folder, write_atomically
from facekd.preprocess import (
    SUFFIXES,
    Identities,
    Image,
    Source,
    identities_in,
    identity_of,
    open_source,
    wrapper_of,
    write_records,
)
from facekd.workflows.photo_acquisition import Advance, EmbeddedPhotos, PhotoSet, embed_photos

if TYPE_CHECKING:
    from facekd.distillation import Recipe
    from facekd.training.data import CropSet

#: cosines from which two crops are taken to show the same person, and from which they may
SAME, NEAR = 0.9, 0.5
_BLOCK = 2048
_KINDS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp"}


def convert(
    source: Path,
    target: Path,
    *,
    labelled: bool = True,
    force: bool = False,
    root: str | None = None,
    advance: Advance = lambda n: None,
) -> int:
    """Copy the images of ``source`` (folder, zip or RecordIO pack) into ``target``: a ``.zip``, a
    ``.rec``, or else a folder. Images are not re-encoded; returns their number.

    The folders of ``source`` are identities (`identities_in`), unless ``labelled`` is false; with a
    ``root``, only what is below it is copied, under names relative to it. The target appears only once it is
    complete. Raises `UsageError` if it exists already (``force`` replaces a file, never a folder),
    `InputOutput` or `Unreadable` for the files.
    """
    images = open_source(source)
    suffix = target.suffix.lower()
    # other targets keep the folder tree, whatever it means
    asked = root is not None or (labelled and suffix == ".rec")
    whose = identities_in(images, root) if asked else Identities(dict.fromkeys(images.names()))
    names = sorted(whose.of, key=lambda name: (whose.of[name] or name.rpartition("/")[0], name))
    if not names:
        raise InputOutput(f"{source}: contains no images")
    if target.exists() and (target.is_dir() or not force):
        fix = None if target.is_dir() else "Replace it with --force, or choose another target."
        raise UsageError(f"{target} exists already", fix)
    write = {".zip": _write_zip, ".rec": _write_records}.get(suffix, _write_folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as beside:
            write(images, names, Path(beside) / target.name, whose if labelled else Identities({}), advance)
            for made in sorted(Path(beside).iterdir(), key=lambda path: path.name == target.name):
                made.replace(target.parent / made.name)  # the pack itself comes last
    except OSError as error:
        raise InputOutput(f"{target}: cannot be written ({error.strerror or error})") from error
    return len(names)


def _write_records(
    images: Source, names: list[str], target: Path, whose: Identities, advance: Advance
) -> None:
    def each() -> Iterator[Image]:
        for name in names:
            yield Image(images.read(name), whose.of.get(name))
            advance(1)

    write_records(target, each())


def _write_zip(images: Source, names: list[str], target: Path, whose: Identities, advance: Advance) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as pack:
        for name in names:
            packed = images.read(name)
            member = _safe(images, name, packed, whose.root)
            if not is_utf8(member):
                raise Unreadable(
                    f"{images.path}: the name {name!a} is not UTF-8 and cannot be written into a zip pack"
                )
            pack.writestr(member, packed)
            advance(1)


def _write_folder(
    images: Source, names: list[str], target: Path, whose: Identities, advance: Advance
) -> None:
    target.mkdir()
    for name in names:
        packed = images.read(name)
        place = target / _safe(images, name, packed, whose.root)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(packed)
        advance(1)


def _safe(images: Source, name: str, packed: bytes, root: str) -> str:
    """``name`` below ``root``, with the suffix of the format of ``packed``. Raises `Unreadable` for a name
    that points outside the target."""
    name = name.removeprefix(f"{root}/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise Unreadable(f"{images.path}: contains a name that points outside the target ('{name}')")
    found = next((suffix for begin, suffix in _KINDS.items() if packed.startswith(begin)), None)
    alike = {".jpeg": ".jpg"}.get(path.suffix.lower(), path.suffix.lower())
    return name if found in (None, alike) or alike not in SUFFIXES else str(path.with_suffix(found))


@dataclass(frozen=True)
class Crops:
    """The images ``names`` of ``pack``, a pack or a folder."""

    pack: Path
    names: tuple[str, ...]


def all_crops(packs: Iterable[Path]) -> tuple[Crops, ...]:
    """All images in the ``packs``."""
    return tuple(Crops(pack, tuple(open_source(pack).names())) for pack in packs)


@dataclass(frozen=True)
class Embedded:
    """Some training crops: their ``names`` [N], which include the packs', and ``rows`` float32 [N, D], their
    unit embeddings, NaN for a crop without one."""

    names: Sequence[str]
    rows: NDArray[np.float32]


def embedded_packs(
    training: Iterable[Crops], model: Path, device: str = "cpu", advance: Advance = lambda n: None
) -> Iterator[Embedded]:
    """Yield the crops of packs, embedded by ``model``."""
    for own in training:
        found = _embedded(PhotoSet(own.pack, None, device), own.names, model, advance)
        yield Embedded([_listed(own.pack, name) for name in own.names], found.embeddings[0])


def embedded_set(
    crops: CropSet,
    model: Path,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
    advance: Advance = lambda n: None,
) -> Iterator[Embedded]:
    """Yield the crops of a recipe, embedded by ``model``. The embeddings come from the cache of targets or
    are added to it: training uses the same ones for crops without augmentation, or with a gate. Raises
    `Unreadable` for a broken crop."""
    from facekd.distillation import TeacherQuery, crop_targets
    from facekd.models.teachers import load_teacher
    from facekd.runtime import threads_available

    packs = [source.path for source in crops.sources]
    names = [_listed(packs[w], name) for w, name in zip(crops.where.tolist(), crops.names, strict=True)]
    threads = threads_available()
    asked = 0

    def labelled(done: int, total: int) -> None:
        nonlocal asked
        asked += done
        advance(done)

    query = TeacherQuery(target_folder(), device, threads, 0, say, labelled)
    start = 0
    for rows in crop_targets(crops, load_teacher(str(model), device, threads), query):
        if not start:
            advance(max(0, len(crops) - asked))  # what was already in the cache
        yield Embedded(names[start : start + len(rows)], rows.numpy())
        start += len(rows)


def _listed(pack: Path, name: str) -> str:
    """The name of a crop in exclude lists."""
    return f"{pack.name.removesuffix('.zip')}/{name}"


def first_teacher(recipe: Recipe) -> Path:
    """The file of the recipe's first teacher. Raises `UsageError` if that is not an exported model."""
    models = recipe.teacher.models if recipe.teacher else ()
    if not models or not models[0].endswith((".onnx", ".toml")):
        told = f"its first teacher is not an ONNX file ({models[0]})" if models else "it has no teacher"
        raise UsageError(
            f"training and test set cannot be compared with the recipe's teacher: {told}",
            "Give a model with --model FILE.onnx.",
        )
    return Path(models[0])


@dataclass(frozen=True)
class Likeness:
    """A training crop and the test photo that it resembles most."""

    crop: str
    photo: str
    cosine: float


@dataclass(frozen=True)
class Overlap:
    """The result of comparing training crops with test photos: ``near`` lists the crops with a cosine of
    `NEAR` or more to some photo, highest cosine first."""

    crops: int
    photos: int
    failures: int
    near: tuple[Likeness, ...]
    #: the person in each photo
    whose: Mapping[str, str | None]

    @property
    def same(self) -> int:
        """The number of crops that show a person of the test set."""
        return sum(found.cosine >= SAME for found in self.near)

    @property
    def people(self) -> tuple[str, ...] | None:
        """The people of the test set whom near crops resemble, sorted; `None` if one of the photos they
        resemble is not in a person's folder."""
        people = {self.whose[found.photo] for found in self.near}
        named = sorted(person for person in people if person is not None)
        return None if None in people else tuple(named)

    def refuse(self) -> None:
        """Raise `Misfit` if training and test set share people."""
        if self.same:
            worst = self.near[0]
            raise Misfit(
                f"{self.same} training crop(s) show people of the test set (cosine {SAME} or more; first: "
                f"{worst.crop} and {worst.photo}, {worst.cosine:.2f})",
                "Exclude their identities: list them in the recipe's exclude.",
            )


def check_overlap(
    training: Iterable[Embedded],
    photos: Path,
    model: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    advance: Advance = lambda n: None,
) -> Overlap:
    """Compare the ``training`` crops with ``photos``, both embedded by ``model``.

    Content hashes would not find a photo that was cropped or compressed again. With ``detector`` `None` the
    photos are finished crops.
    """
    tested = open_source(photos).names()
    theirs = _embedded(PhotoSet(photos, detector, device), tested, model, advance)
    there = np.array([photo.reason is None for photo in theirs.photos])
    rows = theirs.embeddings[0][there]
    if not len(rows):
        raise InputOutput(f"{photos}: none of the photos gave an embedding")
    known = np.array(tested)[there]
    found: list[Likeness] = []
    crops = failures = 0
    for own in training:
        crops += len(own.names)
        failures += int(np.isnan(own.rows).any(axis=1).sum())
        for start in range(0, len(own.names), _BLOCK):
            scores = np.nan_to_num(own.rows[start : start + _BLOCK], nan=0.0) @ rows.T
            best = scores.argmax(axis=1)
            for offset in np.flatnonzero(scores.max(axis=1) >= NEAR):
                photo = str(known[best[offset]])
                found.append(
                    Likeness(own.names[start + int(offset)], photo, float(scores[offset, best[offset]]))
                )
    found.sort(key=lambda likeness: -likeness.cosine)
    top = wrapper_of(tested) if not photos.is_dir() else ""
    whose = {likeness.photo: identity_of(likeness.photo, top) for likeness in found}
    return Overlap(crops, len(tested), failures + int((~there).sum()), tuple(found), whose)


def _embedded(photos: PhotoSet, names: Sequence[str], model: Path, advance: Advance) -> EmbeddedPhotos:
    if not names:
        raise InputOutput(f"{photos.data}: contains no images")
    return embed_photos(photos, names, [model], advance=advance)


def count_images(*places: Path) -> int:
    """The number of images in the folders and packs together."""
    return sum(len(open_source(place).names()) for place in places)


def check_folders(photos: Path) -> None:
    """Raise `UsageError` if not all ``photos`` of a test set are in a person's folder."""
    strays = identities_in(open_source(photos)).nobodys
    if strays:
        raise UsageError(
            f"{photos}: {len(strays)} photos are not in a person's folder, the first of them {strays[0]}",
            "The people of a test set are known only if each has a folder.",
        )


def write_people(found: Overlap, file: Path) -> int:
    """Write the people of the test set whom near crops resemble, one per line, for ``evaluate --without``.
    Returns how many there are. Raises `UsageError` if the photos are not in folders."""
    if found.people is None:
        raise UsageError("the photos of the test set are not in a folder per person")
    write_atomically(file, "".join(f"{person}\n" for person in found.people).encode())
    return len(found.people)


def write_exclude(found: Overlap, file: Path) -> None:
    """Write the near crops, one per line: an ``exclude`` list for a recipe."""
    write_atomically(file, "".join(f"{near.crop}\n" for near in found.near).encode())
