"""First cards are stated and tried, changed networks renew theirs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from odd_models import constant, write_network
from onnx import numpy_helper
from tiny_model import write_tiny_model

from facekd.card import (
    ARCFACE_TEMPLATE,
    Calibration,
    Card,
    Counts,
    LandmarkCrop,
    load_onnx,
    read_card,
    stored_card,
    write_card,
)
from facekd.errors import Exit, ImplausibleReading, NoCard, UsageError
from facekd.preprocess import Detector, cut, decode, find_face
from facekd.preprocess.detectors import make_detector
from facekd.runtime import Embedder, load_embedder
from facekd.workflows import Recognizer, compare_readings, write_model_card

STATED = ("input.colour=bgr", "input.mean=0", "input.std=1", "crop=arcface")
#: as the makers of face-reidentification-retail-0095 state it, in pixels of 128
ZOO = [[40.39, 59.08], [87.38, 59.08], [64.03, 81.98], [44.73, 105.56], [83.64, 105.37]]


def setting(*values: str) -> list[str]:
    return [part for value in values for part in ("--set", value)]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return write_network(tmp_path / "bare.onnx")


class TestFirstCards:
    def test_all_is_stated(self, facekd, bare: Path) -> None:
        digest = read_card(bare)[0].digest
        ran = facekd("card", bare, *setting(*STATED, "licence=MIT"), "--json")
        assert ran.code == Exit.DONE, ran.err
        card, found = read_card(bare)
        assert found
        assert (card.input.colour, card.input.mean, card.input.std) == ("bgr", 0, 1)
        assert card.crop == LandmarkCrop()
        assert (card.digest, card.licence, card.embedding.dim) == (digest, "MIT", 16)
        assert json.loads(ran.out) == {"schema": "card/1", **card.model_dump(mode="json")}
        assert "its first card" in ran.err
        assert "median cosine of 0." in ran.err

    @pytest.mark.parametrize("left_out", range(4))
    def test_what_is_not_stated_is_named(self, facekd, bare: Path, left_out: int) -> None:
        before = bare.read_bytes()
        ran = facekd("card", bare, *setting(*STATED[:left_out], *STATED[left_out + 1 :]))
        assert ran.code == Exit.USAGE
        key = STATED[left_out].partition("=")[0]
        assert f"a first one must state {key}\n" in ran.err
        assert bare.read_bytes() == before

    def test_what_only_mentions_the_crop_does_not_state_it(self, facekd, bare: Path) -> None:
        ran = facekd("card", bare, *setting('input={"colour":"bgr","mean":0}', "crop.size=112"))
        assert ran.code == Exit.USAGE
        assert "must state input.std and crop\n" in ran.err

    def test_a_convention_states_all_and_settings_come_after_it(self, facekd, bare: Path) -> None:
        assumed = read_card(bare)[0]
        assert facekd("card", bare, "--convention", "insightface").code == Exit.DONE
        assert read_card(bare) == (assumed, True)
        again = facekd("card", bare, "--convention", "insightface")
        assert again.code == Exit.USAGE
        assert "has a card" in again.err

    def test_settings_come_after_the_convention(self, tmp_path: Path, bare: Path) -> None:
        out = tmp_path / "out.onnx"
        written = write_model_card(bare, ["input.colour=bgr"], convention=True, out=out)
        assert (written.card.input.colour, written.card.input.mean) == ("bgr", 127.5)
        assert written.before is None
        assert not read_card(bare)[1]
        assert read_card(out) == (written.card, True)

    def test_arcface_is_scaled_to_the_crop(self, tmp_path: Path) -> None:
        model = write_network(tmp_path / "x.onnx", shape=("N", 3, 128, 128))
        card = write_model_card(model, STATED).card
        assert card.crop.size == card.input.size == 128
        wanted = np.array(ARCFACE_TEMPLATE) * 128 / 112
        np.testing.assert_allclose(np.array(card.crop.template), wanted, atol=1e-4)

    @pytest.mark.parametrize(
        ("crop", "told"),
        [
            ({"template": (np.array(ARCFACE_TEMPLATE) / 112).tolist()}, "not in fractions of it"),
            ({"template": np.array(ARCFACE_TEMPLATE)[[1, 0, 2, 4, 3]].tolist()}, "the shape of a face"),
            (
                {"template": (np.array(ARCFACE_TEMPLATE) * 2).tolist()},
                "five points in pixels, inside the crop",
            ),
            (
                {"size": 96, "template": list(map(list, ARCFACE_TEMPLATE))},
                "crop.size is 96 and input.size 112",
            ),
            ({"kind": "box", "size": 160}, "crop.size is 160 and input.size 112"),
        ],
    )
    def test_crops_that_no_face_is_cut_by(self, facekd, bare: Path, crop: dict, told: str) -> None:
        whole = {"kind": "landmarks", **crop}
        ran = facekd("card", bare, *setting(*STATED[:3], f"crop={json.dumps(whole)}"))
        assert ran.code == Exit.USAGE
        assert told in ran.err

    def test_a_box_crop_is_tried_too(self, bare: Path) -> None:
        written = write_model_card(bare, [*STATED[:3], 'crop={"kind":"box","margin":10}'])
        assert written.card.crop.size == 112
        assert written.alike is not None

    def test_a_constant_answer_is_refused(self, facekd, tmp_path: Path) -> None:
        model = constant(tmp_path / "same.onnx")
        before = model.read_bytes()
        ran = facekd("card", model, "--convention", "insightface")
        assert ran.code == Exit.USAGE
        assert "the median cosine of 16 synthetic people is 1.00" in ran.err
        assert f"facekd card {model} --check-on PEOPLE" in ran.err
        assert model.read_bytes() == before

    def test_no_answer_at_all_is_refused(self, tmp_path: Path) -> None:
        model = constant(tmp_path / "nothing.onnx")
        network = load_onnx(model)
        network.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.zeros((1, 8), np.float32), "same"))
        onnx.save(network, model)
        with pytest.raises(ImplausibleReading, match="an embedding that is zero"):
            write_model_card(model, convention=True)


class TestChanges:
    def test_what_keeps_the_space_is_not_tried(self, tmp_path: Path) -> None:
        model = write_tiny_model(tmp_path / "tiny.onnx")
        assert write_model_card(model, ["licence=MIT"]).alike is None
        assert write_model_card(model, ["input.colour=bgr"]).alike is not None

    def test_a_new_space_is_tried(self, tmp_path: Path) -> None:
        model = constant(tmp_path / "same.onnx")
        network = load_onnx(model)
        card = read_card(model)[0]
        write_card(network, card, model)
        with pytest.raises(ImplausibleReading):
            write_model_card(model, ["input.mean=0"])
        assert read_card(model) == (card, True)


def counted(fmr: float) -> Calibration:
    counts = Counts(mated=10, non_mated=10**6, false_matches=100, false_non_matches=1)
    return Calibration(
        fmr=fmr, threshold=0.5, low=5e-5, high=2e-4, data="people", counts=counts, detector="mtcnn",
        aligner="a",
    )  # fmt: skip


class TestRenewing:
    @pytest.fixture
    def changed(self, tmp_path: Path) -> Path:
        """A model with everything in its card, one weight of which was changed afterwards."""
        model = write_tiny_model(tmp_path / "tiny.onnx", calibration=(counted(1e-3),))
        network = load_onnx(model)
        card = read_card(model)[0].model_copy(
            update={"metrics": {"lfw": 99.0}, "compatible_with": ("a" * 64,), "licence": "MIT"}
        )
        provenance = card.provenance.model_copy(update={"data": "mine", "seed": 3})
        write_card(network, card.model_copy(update={"provenance": provenance}), model)
        network = load_onnx(model)
        weights = numpy_helper.to_array(network.graph.initializer[0]).copy()
        weights[0, 0] += 1
        network.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
        onnx.save(network, model)
        return model

    def test_the_advice_works(self, facekd, changed: Path) -> None:
        old = stored_card(load_onnx(changed), "")
        assert old is not None
        for command in (("card", changed), ("card", changed, "--set", "licence=x")):
            ran = facekd(*command)
            assert ran.code == Exit.IO
            assert "facekd card FILE --renew" in ran.err
        ran = facekd("card", changed, "--renew")
        assert ran.code == Exit.DONE, ran.err
        assert f"changed: was {old.space[:12]}" in ran.err
        card, found = read_card(changed)
        assert found
        assert card.digest != old.digest
        assert card.space != old.space
        kept = ("name", "architecture", "input", "crop", "embedding", "teacher", "provenance", "licence")
        assert [getattr(card, key) for key in kept] == [getattr(old, key) for key in kept]
        gone = (card.calibration, card.score_map, card.photo_limits, card.compatible_with, card.metrics)
        assert gone == ((), None, None, (), {})

    def test_it_may_change_on_the_way(self, changed: Path) -> None:
        assert write_model_card(changed, ["input.colour=bgr"], renew=True).card.input.colour == "bgr"

    def test_a_network_that_finds_everybody_alike_gets_none(self, tmp_path: Path, changed: Path) -> None:
        old = stored_card(load_onnx(changed), "")
        assert old is not None
        other = load_onnx(constant(tmp_path / "same.onnx"))
        entry = other.metadata_props.add()
        entry.key, entry.value = "facekd.card", old.model_dump_json()
        onnx.save(other, changed)
        with pytest.raises(ImplausibleReading):
            write_model_card(changed, renew=True)

    def test_sizes_are_those_of_the_network(self, tmp_path: Path, changed: Path) -> None:
        old = stored_card(load_onnx(changed), "")
        assert old is not None
        other = load_onnx(write_network(tmp_path / "other.onnx"))
        entry = other.metadata_props.add()
        entry.key, entry.value = "facekd.card", old.model_dump_json()
        onnx.save(other, changed)
        card = write_model_card(changed, renew=True).card
        assert card.embedding.dim == 16
        assert load_embedder(changed).embed(np.zeros((0, 112, 112, 3), np.uint8)).shape == (0, 16)

    def test_nothing_to_renew(self, facekd, tmp_path: Path, bare: Path) -> None:
        ran = facekd("card", write_tiny_model(tmp_path / "tiny.onnx"), "--renew")
        assert ran.code == Exit.USAGE
        assert "nothing to renew" in ran.err
        ran = facekd("card", bare, "--renew")
        assert ran.code == Exit.USAGE
        assert "has no card to renew" in ran.err


class TestWithoutACard:
    def test_operators_are_refused(self, facekd, tmp_path: Path, bare: Path) -> None:
        for command in (
            ("verify", tmp_path / "a", tmp_path / "b", "--model", bare, "--threshold", 0.3),
            ("enroll", "Ann", tmp_path / "a", "--model", bare, "--gallery", tmp_path / "g.db"),
        ):
            ran = facekd(*command)
            assert ran.code == Exit.USAGE
            assert f"{bare} has no card" in ran.err
            assert f"facekd card {bare} --set input.colour" in ran.err
        with pytest.raises(NoCard) as error:
            Recognizer(bare)
        assert error.value.reason == "no_card"

    def test_measuring_goes_on_and_says_so(self, facekd, tmp_path: Path, bare: Path) -> None:
        random = np.random.default_rng(0)
        rows = ["path1,path2,label"]
        for person in range(6):
            (tmp_path / "crops" / f"p{person}").mkdir(parents=True)
            for number in range(2):
                crop = random.integers(0, 256, (112, 112, 3), np.uint8)
                cv2.imwrite(str(tmp_path / "crops" / f"p{person}" / f"{number}.png"), crop)
            rows += [f"p{person}/0.png,p{person}/1.png,1", f"p{person}/0.png,p{(person + 1) % 6}/1.png,0"]
        (tmp_path / "pairs.csv").write_text("\n".join(rows))
        data = ("--data", tmp_path / "crops", "--pairs", tmp_path / "pairs.csv", "--aligned")
        for command in ("evaluate", "degrade"):
            ran = facekd(command, bare, *data)
            assert ran.code == Exit.DONE, ran.err
            assert f"{bare} has no card: read by insightface's convention" in ran.err

    def test_one_of_several_is_enough_to_refuse(self, tmp_path: Path, bare: Path) -> None:
        write_tiny_model(tmp_path / "tiny.onnx")
        (tmp_path / "both.toml").write_text('models = ["tiny.onnx", "bare.onnx"]')
        assert not load_embedder(tmp_path / "both.toml").has_card
        with pytest.raises(NoCard, match=r"bare\.onnx has no card"):
            load_embedder(tmp_path / "both.toml", need_card=True)


@pytest.fixture(scope="module")
def people(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty people of LFW with three photos each."""
    folder = tmp_path_factory.mktemp("lfw")
    with zipfile.ZipFile(faces / "lfw.zip") as pack:
        of: dict[str, list[str]] = {}
        for name in sorted(pack.namelist()):
            of.setdefault(name.split("/")[0], []).append(name)
        chosen = [photos[:3] for photos in of.values() if len(photos) >= 3][:40]
        pack.extractall(folder, [name for photos in chosen for name in photos])
    return folder


def fnmr_by_hand(embedder: Embedder, people: Path, detector: Detector) -> float:
    """At FMR 1e-2: as many strangers as that allows stand above the threshold."""
    files = sorted(people.glob("*/*"))
    photos = [decode(file) for file in files]
    crops = np.stack([cut(p.pixels, find_face(p, detector), embedder.spec) for p in photos])
    rows = embedder.embed(crops)
    who = np.array([file.parent.name for file in files])
    ends = np.triu_indices(len(files), 1)
    scores, same = (rows @ rows.T)[ends], (who[:, None] == who)[ends]
    strangers = np.sort(scores[~same])[::-1]
    return float((scores[same] <= strangers[int(0.01 * len(strangers))]).mean())


@pytest.mark.needs_faces
class TestRealModels:
    @pytest.mark.parametrize(
        ("model", "right", "wrong"),
        [
            ("edgeface_xxs", (127.5, 127.5), ((0, 1),)),
            ("edgeface_xs", (127.5, 127.5), ((0, 1),)),
            ("mobilefacenet_y1", (0, 1), ((127.5, 127.5), (0, 255))),
            ("ov_reid_0095", (0, 1), ((127.5, 127.5), (0, 255))),
        ],
    )
    def test_a_wrong_scale_is_refused(
        self, faces: Path, tmp_path: Path, model: str, right: tuple, wrong: tuple
    ) -> None:
        file, out = faces / "models" / f"{model}.onnx", tmp_path / "out.onnx"

        def stated(mean: float, std: float) -> list[str]:
            return ["input.colour=rgb", f"input.mean={mean}", f"input.std={std}", "crop=arcface"]

        for scale in wrong:
            with pytest.raises(ImplausibleReading, match=r"people is (0\.9|1\.0)"):
                write_model_card(file, stated(*scale), out=out)
            assert not out.exists()
        alike = write_model_card(file, stated(*right), out=out).alike
        assert alike is not None
        assert 0.4 < alike < 0.6

    def test_two_strangers_are_no_longer_one(self, facekd, faces: Path, people: Path) -> None:
        """Read by convention this model gives strangers 0.98."""
        one, other = (next(folder.iterdir()) for folder in sorted(people.iterdir())[:2])
        model = faces / "models" / "ov_reid_0095.onnx"
        ran = facekd("verify", one, other, "--model", model, "--threshold", 0.3)
        assert ran.code == Exit.USAGE
        assert "same person" not in ran.out

    @pytest.mark.slow
    def test_readings_are_compared_on_people(self, facekd, faces: Path, people: Path, tmp_path: Path) -> None:
        model = faces / "models" / "ov_reid_0095.onnx"
        scrfd = f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}"
        crop = json.dumps({"template": ZOO, "kind": "landmarks"})
        ran = facekd(
            "card", model, *setting("input.colour=bgr", "input.mean=0", "input.std=1", f"crop={crop}"),
            "--check-on", people, "--out", tmp_path / "ov.onnx", "--detector", scrfd, "--json",
        )  # fmt: skip
        assert ran.code == Exit.DONE, ran.err
        told = json.loads(ran.out)["check_on"]
        assert (told["people"], told["photos"]) == (40, 120 - told["failed"])
        assert told["stated"]["as_good"]
        rates = {
            (r["input"]["colour"], r["input"]["mean"], r["input"]["std"], r["template"]): r["fnmr"]
            for r in told["readings"]
        }
        assert len(rates) == 12
        assert rates["bgr", 0, 1, "its template"] < 0.1
        assert all(rate > 0.5 for (_, _, std, _), rate in rates.items() if std != 1)
        good = {key for key, r in zip(rates, told["readings"], strict=True) if r["as_good"]}
        assert all(std == 1 for _, _, std, _ in good)
        assert rates["bgr", 0, 1, "its template"] == pytest.approx(
            fnmr_by_hand(load_embedder(tmp_path / "ov.onnx"), people, make_detector(scrfd))
        )

    def test_too_few_people_are_said(self, facekd, faces: Path, people: Path, tmp_path: Path) -> None:
        for folder in sorted(people.iterdir())[:3]:
            (tmp_path / "few" / folder.name).mkdir(parents=True)
            for photo in folder.iterdir():
                (tmp_path / "few" / folder.name / photo.name).write_bytes(photo.read_bytes())
        scrfd = f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}"
        model = faces / "models" / "edgeface_xxs.onnx"
        card: Card = read_card(model)[0]
        with pytest.raises(UsageError, match="insufficient data"):
            compare_readings(model, card, tmp_path / "few", scrfd)
