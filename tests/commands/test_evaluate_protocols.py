"""Every protocol through the command line, with the tiny model and small random crops."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facekd.errors import Exit
from facekd.runtime import load_embedder

PEOPLE, PHOTOS = 45, 4


def _crop(person: int, photo: int) -> np.ndarray:
    """A pattern that is the person's, with noise that is the photo's."""
    pattern = np.random.default_rng(person).integers(0, 256, (14, 14, 3))
    noise = np.random.default_rng(1000 * person + photo + 7).normal(0, 70, (14, 14, 3))
    return np.clip(np.kron(pattern + noise, np.ones((8, 8, 1))), 0, 255).astype(np.uint8)


def _png(person: int, photo: int) -> bytes:
    return cv2.imencode(".png", _crop(person, photo)[..., ::-1])[1].tobytes()


def _put(path: Path, person: int, photo: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_png(person, photo))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    for person in range(PEOPLE):
        for photo in range(PHOTOS):
            _put(folder / f"P{person:02d}" / f"{photo}.png", person, photo)
    return folder


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 mated and 20 non-mated pairs, taking turns."""
    images, same = [], []
    for n in range(40):
        mated = n % 2 == 0
        images += [_png(n, 0), _png(n if mated else n + 1, 1)]
        same.append(mated)
    path = tmp_path_factory.mktemp("pack") / "cfp_fp.bin"
    path.write_bytes(pickle.dumps((images, same), 2))
    return path


def _embeddings(model: Path, crops: list[np.ndarray], flip: bool = False) -> np.ndarray:
    embedder = load_embedder(model)
    stack = np.stack(crops)
    rows = embedder.embed(stack)
    if flip:
        rows = rows + embedder.embed(np.ascontiguousarray(stack[:, :, ::-1]))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("flip", [False, True])
def test_a_pack(facekd: Callable, tiny: Path, pack: Path, tmp_path: Path, flip: bool) -> None:
    arguments = ["--protocol", "bin"] + ["--flip"] * flip
    ran = facekd(
        "evaluate", tiny, "--data", pack, "--aligned", *arguments, "--json", "--scores", tmp_path / "s.csv"
    )
    assert ran.code == Exit.DONE, ran.err
    assert "list of pairs" not in ran.err
    told = json.loads(ran.out)
    assert told["flip"] == flip
    assert (told["protocol"], told["photos"]["named"]) == ("bin", 80)
    (model,) = told["models"]
    assert len(model["folds"]) == 10
    # the scores again, from the crops themselves
    crops = [_crop(*at) for n in range(40) for at in ((n, 0), (n + n % 2, 1))]
    rows = _embeddings(tiny, crops, flip)
    with (tmp_path / "s.csv").open() as file:
        written = list(csv.DictReader(file))
    scores = [float(line["score"]) for line in written]
    np.testing.assert_allclose(scores, (rows[::2] * rows[1::2]).sum(axis=1), atol=1e-5)
    assert [line["label"] for line in written] == ["1", "0"] * 20
    assert (written[3]["first"], written[3]["second"]) == ("000006.jpg", "000007.jpg")


def test_a_pack_is_known_by_its_name_and_flip_is_told(facekd: Callable, tiny: Path, pack: Path) -> None:
    ran = facekd("evaluate", tiny, "--data", pack, "--aligned", "--flip")
    assert ran.code == Exit.DONE, ran.err
    assert "10 consecutive runs of the pack" in " ".join(ran.out.split())
    assert "added to that of its mirror image" in " ".join(ran.out.split())


def test_a_hostile_pack(facekd: Callable, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"cos\nsystem\n(S'touch trap'\ntR.")
    ran = facekd("evaluate", tiny, "--data", tmp_path / "x.bin", "--aligned")
    assert ran.code == Exit.IO
    assert "not a pack of image pairs: it names os.system" in ran.err
    assert "Traceback" not in ran.err


def test_scores_out_and_in_agree(facekd: Callable, tiny: Path, people: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lines = ["path1,path2,label"]
    for _ in range(3200):
        one, other = random.integers(PEOPLE, size=2)
        a, b = random.choice(PHOTOS, 2, replace=False)
        lines.append(f"P{one:02d}/{a}.png,P{other:02d}/{b}.png,{int(one == other)}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    ran = facekd(
        "evaluate", tiny, "--data", people, "--aligned", "--pairs", tmp_path / "pairs.csv",
        "--scores", tmp_path / "s.csv", "--json",
    )  # fmt: skip
    assert ran.code == Exit.DONE, ran.err
    (model,) = json.loads(ran.out)["models"]
    again = facekd("evaluate-scores", tmp_path / "s.csv", "--json", "--plot", tmp_path / "r.svg")
    assert again.code == Exit.DONE, again.err
    told = json.loads(again.out)
    assert told["auc"]["value"] == pytest.approx(model["auc"]["value"], abs=1e-12)
    assert told["eer"]["value"] == pytest.approx(model["eer"]["value"], abs=1e-12)
    assert told["operating_points"][0]["tar"] == model["operating_points"][0]["tar"]
    assert told["comparisons"] == model["comparisons"]
    assert "<svg" in (tmp_path / "r.svg").read_text()
    text = facekd("evaluate-scores", tmp_path / "s.csv")
    assert "no folds, and therefore no accuracy" in " ".join(text.out.split())


def test_people_with_groups(facekd: Callable, tiny: Path, people: Path, tmp_path: Path) -> None:
    lines = ["photo,group"]
    lines += [f"P{p:02d}/{n}.png,{'odd' if p % 2 else 'even'}" for p in range(PEOPLE) for n in range(PHOTOS)]
    (tmp_path / "groups.csv").write_text("\n".join(lines[:-1]))
    arguments = ["--protocol", "people", "--data", people, "--aligned", "--groups", tmp_path / "groups.csv"]
    ran = facekd("evaluate", tiny, *arguments, "--json", "--plot", tmp_path / "r.png")
    assert ran.code == Exit.DONE, ran.err
    (model,) = json.loads(ran.out)["models"]
    photos = PEOPLE * PHOTOS
    mated = PEOPLE * PHOTOS * (PHOTOS - 1) // 2
    assert model["comparisons"]["mated"] == mated
    assert model["comparisons"]["non_mated"] == photos * (photos - 1) // 2 - mated
    tars = [point["tar"] for point in model["operating_points"]]
    assert tars[0] is not None
    assert tars[2] is tars[3] is None
    grouped = model["by_group"]
    assert grouped["photos_without_group"] == 1
    even, odd = (group["photos"] for group in grouped["groups"])
    assert (even, odd) == (23 * PHOTOS - 1, 22 * PHOTOS)
    assert grouped["groups"][1]["fmr"]["comparisons"] == odd * (odd - 1) // 2 - 22 * 6
    assert grouped["between"][0][1]["comparisons"] == even * odd
    text = facekd("evaluate", tiny, tiny, *arguments)
    assert text.code == Exit.DONE, text.err
    assert text.out.count("over everybody") == 2
    assert "All pairs of 180 photos of 45 people" in " ".join(text.out.split())


def test_identification(facekd: Callable, tiny: Path, tmp_path: Path) -> None:
    for person in range(20):
        for photo in range(4):
            role = "gallery" if photo < 2 else "probe"
            _put(tmp_path / "set" / role / f"P{person}" / f"{photo}.png", person, photo)
    for person in range(80):
        for photo in range(4):
            _put(tmp_path / "set" / "unknown" / f"U{person}" / f"{photo}.png", 100 + person, photo)
    (tmp_path / "set" / "probe" / "P3" / "2.png").write_bytes(b"broken")
    arguments = ["evaluate", tiny, "--protocol", "identification", "--data", tmp_path / "set", "--aligned"]
    ran = facekd(*arguments, "--json", "--plot", tmp_path / "cmc.svg")
    assert ran.code == Exit.DONE, ran.err
    told = json.loads(ran.out)
    (model,) = told["models"]
    assert told["photos"]["failures_to_acquire"] == [{"photo": "probe/P3/2.png", "reason": "unreadable"}]
    assert model["searches"] == {"mated": 40, "non_mated": 320, "failed": 1}
    assert [point["rank"] for point in model["ranks"]] == [1, 5, 10]
    # the ranks again, from the crops
    gallery = (
        _embeddings(tiny, [_crop(p, n) for p in range(20) for n in (0, 1)]).reshape(20, 2, -1).sum(axis=1)
    )
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    probes = _embeddings(tiny, [_crop(p, n) for p in range(20) for n in (2, 3)])
    scores = probes @ gallery.T
    rank = 1 + (scores > scores[np.arange(40), np.repeat(np.arange(20), 2)][:, None]).sum(axis=1)
    rank[6] = 99
    assert [point["hits"] for point in model["ranks"]] == [int((rank <= r).sum()) for r in (1, 5, 10)]
    assert model["ranks"][2]["rate"] < 1
    assert model["open_set"][0]["fnir"] is not None
    assert model["open_set"][1]["insufficient"].startswith("insufficient data: 3.2 false positives")
    assert "<svg" in (tmp_path / "cmc.svg").read_text()
    text = facekd(*arguments)
    assert "FNIR@FPIR 0.1, open set" in text.out


def test_templates(facekd: Callable, tiny: Path, people: Path, tmp_path: Path) -> None:
    lines = ["template,person,photo,media"]
    for p in range(PEOPLE):
        lines += [f"a{p},P{p},P{p:02d}/0.png,v{p}", f"a{p},P{p},P{p:02d}/1.png,v{p}"]
        lines += [f"b{p},P{p},P{p:02d}/2.png,", f"b{p},P{p},P{p:02d}/3.png,"]
    (tmp_path / "templates.csv").write_text("\n".join(lines))
    arguments = [
        "--protocol",
        "templates",
        "--data",
        people,
        "--aligned",
        "--pairs",
        tmp_path / "templates.csv",
    ]
    ran = facekd("evaluate", tiny, *arguments, "--json")
    assert ran.code == Exit.DONE, ran.err
    (model,) = json.loads(ran.out)["models"]
    assert (model["templates"], model["people"]) == (2 * PEOPLE, PEOPLE)
    assert model["comparisons"]["mated"] == PEOPLE
    pairs = ["template1,template2"]
    pairs += [f"a{p},b{q}" for p in range(PEOPLE) for q in range(PEOPLE)]
    (tmp_path / "templates_pairs.csv").write_text("\n".join(pairs))
    listed = facekd("evaluate", tiny, *arguments, "--scores", tmp_path / "s.csv")
    assert listed.code == Exit.DONE, listed.err
    with (tmp_path / "s.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [line["second"] for line in written[:3]] == ["b0", "b1", "b2"]
    assert sum(line["label"] == "1" for line in written) == PEOPLE
    halves = _embeddings(tiny, [_crop(0, n) for n in range(4)]).reshape(2, 2, -1).sum(axis=1)
    halves /= np.linalg.norm(halves, axis=1, keepdims=True)
    assert float(written[0]["score"]) == pytest.approx(float(halves[0] @ halves[1]), abs=1e-5)


def test_cfp_and_calfw_find_their_lists(facekd: Callable, tiny: Path, tmp_path: Path) -> None:
    images = tmp_path / "Data" / "Images"
    lists: dict[str, list[str]] = {"F": [], "P": []}
    for person in range(1, 5):
        for kind, folder in (("F", "frontal"), ("P", "profile")):
            for photo in (1, 2):
                _put(
                    images / f"{person:03d}" / folder / f"{photo:02d}.png", person, photo + 2 * (kind == "P")
                )
                name = f"../Data/Images/{person:03d}/{folder}/{photo:02d}.jpg"
                lists[kind].append(f"{len(lists[kind]) + 1} {name}")
    for kind, lines in lists.items():
        (tmp_path / "Protocol").mkdir(exist_ok=True)
        (tmp_path / "Protocol" / f"Pair_list_{kind}.txt").write_text("\n".join(lines))
    for fold in range(2):
        split = tmp_path / "Protocol" / "Split" / "FP" / f"0{fold + 1}"
        split.mkdir(parents=True)
        (split / "same.txt").write_text("\n".join(f"{4 * fold + n},{4 * fold + n}" for n in (1, 2, 3, 4)))
        (split / "diff.txt").write_text("\n".join(f"{4 * fold + n},{4 * fold + 5 - n}" for n in (1, 2, 3, 4)))
    for data in (tmp_path, images):
        pairs = ["--pairs", tmp_path / "Protocol"] if data == images else []
        ran = facekd("evaluate", tiny, "--protocol", "cfp-fp", "--data", data, "--aligned", "--json", *pairs)
        assert ran.code == Exit.DONE, ran.err
        (model,) = json.loads(ran.out)["models"]
        assert model["comparisons"] == {"mated": 8, "non_mated": 8, "failed_mated": 0, "failed_non_mated": 0}
    flat = tmp_path / "aligned images"
    lines = []
    for person in range(8):
        for photo in (1, 2):
            _put(flat / f"Ann_{person}_{photo:04d}.png", person, photo)
            lines.append(f"Ann_{person}_{photo:04d}.jpg {person + 1}")
    lines += [f"Ann_{(n + 1) // 2 % 8}_0001.jpg 0" for n in range(16)]
    (tmp_path / "pairs_CALFW.txt").write_text("\n".join(lines))
    ran = facekd("evaluate", tiny, "--protocol", "calfw", "--data", flat, "--aligned", "--json")
    assert ran.code == Exit.DONE, ran.err
    assert json.loads(ran.out)["models"][0]["comparisons"]["mated"] == 8


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["m.onnx", "m.onnx", "--data", ".", "--scores", "o.csv"], "give one MODEL"),
        (["m.onnx", "--data", ".", "--scores", "absent/o.csv"], "its folder does not exist"),
        (["m.onnx", "--data", "p", "--protocol", "people", "--scores", "o.csv"], "does not keep the score"),
        (["m.onnx", "--data", "p", "--protocol", "people", "--groups", "g.csv", "--aligned"], "has a group"),
        (["m.onnx", "--data", "s", "--protocol", "identification", "--groups", "g.csv"], "no rates by group"),
        (["m.onnx", "--data", "p", "--protocol", "cfp-fp"], "no Protocol/Pair_list_F.txt"),
    ],
)
def test_wrong_calls(
    facekd: Callable,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    told: str,
) -> None:
    (tmp_path / "g.csv").write_text("photo,group\nx.jpg,a\n")
    (tmp_path / "m.onnx").write_bytes(tiny.read_bytes())
    for name in ("p/A/1.png", "p/A/2.png", "p/B/1.png", "s/gallery/A/1.png", "s/probe/A/2.png"):
        _put(tmp_path / name, 0, 0)
    monkeypatch.chdir(tmp_path)
    ran = facekd("evaluate", *arguments)
    assert ran.code == Exit.USAGE, ran.err
    assert told in ran.err
    assert ran.out == ""
