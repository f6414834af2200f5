"""The identity of a photo from its path, in folders and archives; all commands use the same rule."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from facekd.errors import UsageError
from facekd.preprocess import identities_in, identity_of, open_source, wrapper_of

PICTURE = io.BytesIO()
Image.new("RGB", (8, 8), (200, 30, 60)).save(PICTURE, "PNG")


def write_tree(place: Path, names: list[str]) -> Path:
    """Write ``names`` as small, different photos into a folder or, if it ends in .zip, an archive."""
    if place.suffix == ".zip":
        write_tree(place.with_suffix(""), names)
        with zipfile.ZipFile(place, "w") as pack:
            for name in names:
                pack.write(place.with_suffix("") / name, name)
        shutil.rmtree(place.with_suffix(""))
        return place
    for number, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (112, 112), (number, 90, 60)).save(place / name)
    return place


TREE = ["ann/a.png", "ann/2019/b.png", "ann/2020/summer/c.png", "bob/d.png", "bob/e.png", "cy/f.png"]
OWNERS = ["ann", "ann", "ann", "bob", "bob", "cy"]


def test_the_first_folder_counts() -> None:
    assert [identity_of(name) for name in TREE] == OWNERS
    assert identity_of("loose.png") is None
    assert identity_of("./ann//a.png") == "ann"
    assert identity_of("people/ann/a.png", "people") == "ann"
    assert identity_of("people/staff/ann/x/a.png", "people/staff/") == "ann"
    assert identity_of("people/a.png", "people") is None
    assert identity_of("others/ann/a.png", "people") is None
    assert identity_of("people2/ann/a.png", "people") is None


@pytest.mark.parametrize("kind", ["tree", "tree.zip"])
def test_one_tree_as_folder_and_as_archive(tmp_path: Path, kind: str) -> None:
    found = identities_in(open_source(write_tree(tmp_path / kind, [*TREE, "loose.png", ".hidden/x/g.png"])))
    assert found.of == {**dict(zip(TREE, OWNERS, strict=True)), "loose.png": None}
    assert (found.root, found.note, found.nobodys) == ("", None, ("loose.png",))


def test_a_wrapper_is_passed_over_and_noted(tmp_path: Path) -> None:
    wrapped = [f"people/{name}" for name in TREE]
    found = identities_in(open_source(write_tree(tmp_path / "people.zip", wrapped)))
    assert found.of == dict(zip(wrapped, OWNERS, strict=True))
    assert found.root == "people"
    assert found.note
    assert "top folder 'people'" in found.note
    # of a folder the first one below it is the person, whatever lies in it
    folder = identities_in(open_source(write_tree(tmp_path / "folder", wrapped)))
    assert set(folder.of.values()) == {"people"}


@pytest.mark.parametrize(
    "names",
    [
        ["ann/a.png", "ann/b.png"],  # one person
        ["ann/2019/a.png", "ann/2020/b.png"],  # one person, by years
        ["ann/2019-05/a.png", "ann/2019_06/b.png"],
        ["casia/0000045/a.png", "casia/0000099/b.png"],  # many people, by numbers
        ["people/ann/a.png", "people/bob/b.png", "people/loose.png"],
        ["people/ann/a.png", "people/2019/b.png"],
        ["data/people/ann/a.png", "data/people/bob/b.png"],
    ],
)
def test_what_is_not_plain_is_asked(tmp_path: Path, names: list[str]) -> None:
    source = open_source(write_tree(tmp_path / "x.zip", names))
    top = names[0].split("/")[0]
    with pytest.raises(UsageError, match="may be a person") as raised:
        identities_in(source)
    assert f"--root {top}" in str(raised.value.fix)
    assert set(identities_in(source, ".").of.values()) == {top}
    assert set(identities_in(source, top).of) == set(names)
    assert wrapper_of(names) == ""


def test_a_stated_root(tmp_path: Path) -> None:
    names = ["data/people/ann/a.png", "data/people/bob/b.png", "data/others/x.png"]
    for kind in ("tree", "tree.zip"):
        source = open_source(write_tree(tmp_path / kind, names))
        assert identities_in(source, "data/people").of == {names[0]: "ann", names[1]: "bob"}
        assert identities_in(source, "./data/people/").root == "data/people"
        with pytest.raises(UsageError, match="contains no images below 'staff'"):
            identities_in(source, "staff")


Asked = Callable[..., dict[str, str]]


def asked() -> dict[str, Asked]:
    """Everybody who asks whose photos are whose, with a root or without: the answers by the photos' names."""
    from facekd.training.data import open_crops
    from facekd.verification.protocols import open_protocol
    from facekd.workflows import people_in
    from facekd.workflows.calibrate import find_people
    from facekd.workflows.demo import people_of

    def enrolled(path: Path, root: str | None = None) -> dict[str, str]:
        return {photo.name: person for person, photos in people_in(path, root).items() for photo in photos}

    def calibrated(path: Path, root: str | None = None) -> dict[str, str]:
        people = find_people(path, root)
        return dict(zip(people.photos, people.labels, strict=True))

    def evaluated(path: Path, root: str | None = None) -> dict[str, str]:
        people = open_protocol("people", path, root)
        return dict(zip(people.photos, people.people or (), strict=True))

    def trained(path: Path, root: str | None = None) -> dict[str, str]:
        crops = open_crops([path], root=root)
        return {n: crops.people[label] for n, label in zip(crops.names, crops.labels.tolist(), strict=True)}

    def shown(path: Path, root: str | None = None) -> dict[str, str]:
        found = people_of(identities_in(open_source(path), root))
        return {photo: person for person, photos in found.items() for photo in photos}

    return {f.__name__: f for f in (enrolled, calibrated, evaluated, trained, shown)}


EVERYBODY = ["enrolled", "calibrated", "evaluated", "trained", "shown"]


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize(("kind", "wrapper"), [("tree", ""), ("tree.zip", ""), ("tree.zip", "people/")])
def test_everybody_gets_the_same_answer(tmp_path: Path, who: str, kind: str, wrapper: str) -> None:
    names = [wrapper + name for name in TREE]
    path = write_tree(tmp_path / kind, names)
    assert asked()[who](path) == dict(zip(names, OWNERS, strict=True))


@pytest.mark.parametrize("who", EVERYBODY)
def test_everybody_asks_where_it_is_not_plain_and_takes_the_answer(tmp_path: Path, who: str) -> None:
    names = ["ann/2019/a.png", "ann/2020/b.png", "ann/2020/c.png"]
    path = write_tree(tmp_path / "ann.zip", names)
    with pytest.raises(UsageError, match="may be a person"):
        asked()[who](path)
    assert asked()[who](path, "ann") == dict(zip(names, ("2019", "2020", "2020"), strict=True))


def test_a_root_says_nothing_to_a_list_of_pairs(tmp_path: Path) -> None:
    from facekd.verification.protocols import open_protocol

    with pytest.raises(UsageError, match=r"protocol pairs takes no root.*\(others: people\)"):
        open_protocol("pairs", tmp_path / "pairs.csv", "people")


def test_a_list_of_pairs_names_the_same_people(tmp_path: Path) -> None:
    from facekd.verification.protocols import open_protocol

    for wrapper in ("", "people/"):
        mated = [(TREE[0], TREE[1]), (TREE[1], TREE[2]), (TREE[3], TREE[4]), (TREE[0], TREE[2])]
        others = [(TREE[0], TREE[3]), (TREE[1], TREE[4]), (TREE[2], TREE[5]), (TREE[3], TREE[5])]
        lines = [
            f"{wrapper}{one},{wrapper}{other},{label},{number % 2}"
            for label, pairs in ((1, mated), (0, others))
            for number, (one, other) in enumerate(pairs)
        ]
        file = tmp_path / "pairs.csv"
        file.write_text("\n".join(["path1,path2,label,fold", *lines]) + "\n")
        protocol = open_protocol("pairs", file)
        owners = dict(zip([wrapper + name for name in TREE], OWNERS, strict=True))
        assert protocol.people == tuple(owners[photo] for photo in protocol.photos)
