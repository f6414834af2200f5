import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from carded import by_convention
from PIL import Image
from tiny_model import write_tiny_model

from facekd.card.contract import (
    Calibration,
    Counts,
    IsotonicCurve,
    LogisticCurve,
    PhotoLimit,
    PhotoLimits,
    Sample,
    ScoreMap,
)
from facekd.card.onnx_file import card_of, load_onnx, write_card
from facekd.preprocess import ALIGNER
from facekd.workflows.recognizer import Recognizer


def calibration(detector: str = "mtcnn", threshold: float = 0.5) -> Calibration:
    counts = Counts(mated=100, non_mated=100_000, false_matches=100, false_non_matches=1)
    return Calibration(
        fmr=1e-3, threshold=threshold, low=8e-4, high=1.2e-3, data="held-out people", counts=counts,
        detector=detector, aligner=ALIGNER,
    )  # fmt: skip


def limited(photos: Path, model: Path) -> Path:
    """The model at ``model`` with limits in its card that dark.jpg, a darker a.jpg made here, is beyond."""
    found = PhotoLimits(
        limits=(PhotoLimit(reason="too_dark", limit=60.0, refused=1),), fmr=1e-3, threshold=0.5, photos=500,
        data="held-out people", sample=Sample(people=50, photos=300, digest="0" * 64), detector="mtcnn",
        aligner=ALIGNER, date="2025-01-01",
    )  # fmt: skip
    onnx = load_onnx(model)
    write_card(onnx, card_of(onnx, model.stem)[0].model_copy(update={"photo_limits": found}), model)
    with Image.open(photos / "a.jpg") as photo:
        pixels = np.asarray(photo.convert("RGB"))
    Image.fromarray((pixels // 5).astype(np.uint8)).save(model.parent / "dark.jpg", quality=97)
    return model.parent / "dark.jpg"


class TestLimits:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return write_tiny_model(tmp_path / "calibrated.onnx", calibration=(calibration(),))

    @pytest.fixture
    def dark(self, operator: Path, photos: Path, model: Path) -> Path:
        return limited(photos, model)

    def test_a_photo_beyond_gets_no_answer(self, facekd, photos: Path, dark: Path, model: Path) -> None:
        pair = (photos / "a.jpg", dark, "--model", model)
        ran = facekd("verify", *pair)
        assert (ran.code, ran.out) == (3, "")
        assert "dark.jpg: too dark: its brightest parts reach" in ran.err
        assert "60 are needed" in ran.err
        assert "Take the photo in more light." in ran.err
        answer = json.loads(facekd("verify", *pair, "--json").out)
        assert (answer["same"], answer["score"]) == (None, None)
        assert (answer["failure"]["photo"], answer["failure"]["reason"]) == (str(dark), "too_dark")

    def test_any_quality_answers_and_says_what_that_is_worth(
        self, facekd, photos: Path, dark: Path, model: Path
    ) -> None:
        pair = (photos / "a.jpg", dark, "--model", model, "--any-quality")
        ran = facekd("verify", *pair)
        assert ran.code == 0
        assert "same person" in ran.out
        assert "dark.jpg: too dark" in ran.err
        assert "FMR 0.001 does not hold" in ran.err
        answer = json.loads(facekd("verify", *pair, "--json").out)
        assert [photo["faults"] for photo in answer["photos"]] == [[], ["too_dark"]]
        assert any("too dark" in note for note in answer["notes"])

    def test_good_photos_are_none_the_worse(self, facekd, photos: Path, dark: Path, model: Path) -> None:
        ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--model", model, "--json")
        assert ran.code == 0
        assert json.loads(ran.out)["notes"] == []

    def test_they_are_not_enrolled(self, facekd, photos: Path, dark: Path, model: Path) -> None:
        ran = facekd("enroll", "Ann", photos / "a.jpg", dark, "--model", model, "--json")
        assert ran.code == 0
        told = json.loads(ran.out)
        assert told["added"] == 1
        assert [failure["reason"] for failure in told["failures"]] == ["too_dark"]
        assert facekd("enroll", "Bob", dark, "--model", model).code == 3
        assert facekd("enroll", "Bob", dark, "--model", model, "--any-quality", "--force").code == 0


def with_map(
    model: Path, curve: LogisticCurve | IsotonicCurve, detector: str = "mtcnn", aligner: str = ALIGNER
) -> Path:
    """The model at ``model`` with a score map in its card."""
    found = ScoreMap(
        curve=curve, cllr=0.1, min_cllr=0.09, data="held-out people",
        sample=Sample(people=50, photos=300, digest="0" * 64), detector=detector, aligner=aligner,
        date="2025-01-01",
    )  # fmt: skip
    onnx = load_onnx(model)
    write_card(onnx, card_of(onnx, model.stem)[0].model_copy(update={"score_map": found}), model)
    return model


class TestProbability:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        return write_tiny_model(tmp_path / "calibrated.onnx", calibration=(calibration(),))

    def test_logistic(self, facekd, operator: Path, photos: Path, model: Path) -> None:
        with_map(model, LogisticCurve(slope=10, offset=-4))
        pair = (photos / "a.jpg", photos / "mirrored.jpg", "--model", model)
        answer = json.loads(facekd("verify", *pair, "--json").out)
        ratio = 10 * answer["score"] - 4
        assert answer["log_likelihood_ratio"] == pytest.approx(ratio, abs=1e-9)
        assert answer["probability"] == pytest.approx(1 / (1 + np.exp(-ratio)), abs=1e-12)
        assert (answer["prior"], answer["failure"], answer["notes"]) == (0.5, None, [])
        told = f"probability of the same person {answer['probability']:.4f} (prior 0.5)"
        assert told in facekd("verify", *pair).out

    def test_isotonic(self, facekd, operator: Path, photos: Path, model: Path) -> None:
        with_map(model, IsotonicCurve(scores=(-1.0, 1.0), probabilities=(0.1, 0.9)))
        pair = (photos / "a.jpg", photos / "mirrored.jpg", "--model", model)
        answer = json.loads(facekd("verify", *pair, "--json").out)
        assert answer["probability"] == pytest.approx(0.5 + 0.4 * answer["score"], abs=1e-9)

    @pytest.mark.parametrize(("slope", "told"), [(1000, "above 0.9999"), (-1000, "below 0.0001")])
    def test_rare_errors_are_not_rounded_away(
        self, facekd, operator: Path, photos: Path, model: Path, slope: int, told: str
    ) -> None:
        with_map(model, LogisticCurve(slope=1, offset=slope))
        ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--model", model)
        assert f"probability of the same person {told} (prior 0.5)" in ran.out

    @pytest.mark.parametrize(
        ("offset", "threshold", "told"),
        [
            (-4, 0.9999, "the score is below a strict threshold, although the same person is more likely"),
            (-40, 0.1, "the score reaches a lax threshold, although different people are more likely"),
            (-4, 0.1, None),
            (-40, 0.9999, None),
        ],
    )
    def test_a_threshold_against_what_is_likelier(
        self, facekd, operator: Path, photos: Path, model: Path, offset: int, threshold: float, told
    ) -> None:
        with_map(model, LogisticCurve(slope=10, offset=offset))
        pair = (photos / "a.jpg", photos / "mirrored.jpg", "--model", model, "--threshold", threshold)
        ran = facekd("verify", *pair)
        assert ran.code == (threshold == 0.9999)
        assert ("more likely" in ran.out) == (told is not None)
        assert told is None or ran.out.endswith(f"(prior 0.5); {told}\n")

    def test_a_given_threshold_changes_no_probability(
        self, facekd, operator: Path, photos: Path, model: Path
    ) -> None:
        with_map(model, LogisticCurve(slope=10, offset=-4), detector="yunet")
        pair = (photos / "a.jpg", photos / "b.jpg", "--model", model)
        ran = facekd("verify", *pair, "--threshold", 0.3)
        assert "(given), probability of the same person 0.99" in ran.out
        assert "the score map was fitted with detector yunet; this is mtcnn" in ran.err
        assert "the threshold was calibrated" not in ran.err

    def test_a_claim_has_one(self, facekd, operator: Path, photos: Path, model: Path) -> None:
        with_map(model, LogisticCurve(slope=10, offset=-4))
        assert facekd("enroll", "Ann", photos / "a.jpg", "--model", model).code == 0
        ran = facekd("verify", "--claim", "Ann", photos / "b.jpg", "--model", model, "--json")
        answer = json.loads(ran.out)
        assert answer["log_likelihood_ratio"] == pytest.approx(10 * answer["score"] - 4, abs=1e-9)

    def test_without_a_map_it_is_not_known(self, facekd, operator: Path, photos: Path, model: Path) -> None:
        pair = (photos / "a.jpg", photos / "b.jpg", "--model", model)
        assert facekd("verify", *pair).out.endswith(", probability unknown\n")
        answer = json.loads(facekd("verify", *pair, "--json").out)
        assert (answer["probability"], answer["log_likelihood_ratio"]) == (None, None)


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [("blank.jpg", 3, "no_face"), ("cut.jpg", 5, "unreadable"), ("absent.jpg", 5, "io")],
)
def test_json_says_why_there_is_no_answer(
    facekd, operator: Path, photos: Path, name: str, code: int, reason: str
) -> None:
    ran = facekd("verify", photos / "a.jpg", photos / name, "--threshold", 0.3, "--json")
    answer = json.loads(ran.out)
    assert (ran.code, answer["same"], answer["score"], answer["probability"]) == (code, None, None, None)
    assert (answer["failure"]["photo"], answer["failure"]["reason"]) == (str(photos / name), reason)
    assert answer["failure"]["message"] in ran.err
    done = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--threshold", 0.3, "--json")
    assert answer.keys() == json.loads(done.out).keys()


def test_json_says_that_a_face_is_too_small(facekd, operator: Path, photos: Path, monkeypatch) -> None:
    monkeypatch.setattr("facekd.preprocess.selection.MIN_EYE_DISTANCE", 100.0)
    ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--threshold", 0.3, "--json")
    assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (3, "too_small")


def test_json_of_a_gallery_that_is_not_there(facekd, operator: Path, photos: Path) -> None:
    ran = facekd("verify", "--claim", "Ann", photos / "a.jpg", "--threshold", 0.3, "--json")
    failure = json.loads(ran.out)["failure"]
    assert (ran.code, failure["photo"], failure["reason"]) == (5, None, "io")


def test_the_threshold_decides(facekd, operator: Path, photos: Path, tiny: Path) -> None:
    recognizer = Recognizer(tiny)
    one, other = (recognizer.recognise(photos / f).embedding for f in ("a.jpg", "mirrored.jpg"))
    score = float(one @ other)
    for threshold, code, word in ((score - 0.01, 0, "same person:"), (score + 0.01, 1, "different people:")):
        ran = facekd("verify", photos / "a.jpg", photos / "mirrored.jpg", f"--threshold={threshold}")
        assert ran.code == code
        assert ran.out.startswith(word)
        assert f"score {score:.4f}" in ran.out


def test_json_states_what_the_answer_rests_on(facekd, operator: Path, photos: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "calibrated.onnx", calibration=(calibration(),))
    ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--model", model, "--json")
    assert (ran.code, ran.err) == (0, "")
    answer = json.loads(ran.out)
    assert answer["same"] is True
    assert answer["score"] > 0.99
    assert answer["threshold"] == {"value": 0.5, "source": "card", "fmr": 1e-3, "data": "held-out people"}
    assert answer["model"]["name"] == "calibrated"
    assert (answer["claim"], answer["templates"], answer["notes"]) == (None, None, [])
    assert [Path(p["path"]).name for p in answer["photos"]] == ["a.jpg", "b.jpg"]
    assert [p["faces"] for p in answer["photos"]] == [1, 1]
    assert "embedding" not in ran.out


def test_the_text_states_rate_and_data(facekd, operator: Path, photos: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "calibrated.onnx", calibration=(calibration(),))
    ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--model", model)
    assert "threshold 0.5000 (FMR 0.001 on held-out people)" in ran.out
    assert facekd("verify", photos / "a.jpg", photos / "b.jpg", "--model", model, "--fmr", 1e-4).code == 2


def test_another_detector_than_the_calibrations_is_said(
    facekd, operator: Path, photos: Path, tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "calibrated.onnx", calibration=(calibration("yunet"),))
    ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--model", model)
    assert ran.code == 0
    assert "calibrated with detector yunet; this is mtcnn" in ran.err


def test_one_note_about_calibration_and_detector(
    facekd, operator: Path, photos: Path, tmp_path: Path
) -> None:
    """Threshold and score map were both measured with another detector and another aligner."""
    entry = calibration("yunet").model_copy(update={"aligner": "old"})
    model = write_tiny_model(tmp_path / "calibrated.onnx", calibration=(entry,))
    with_map(model, LogisticCurve(slope=10, offset=-4), detector="yunet", aligner="old")
    ran = facekd("verify", photos / "a.jpg", photos / "b.jpg", "--model", model)
    assert ran.err == (
        "note: the threshold was calibrated and the score map was fitted with detector yunet and aligner "
        f"old; this is mtcnn and {ALIGNER}: the false match rate and the probability may differ\n"
    )


def test_without_a_threshold_it_says_how_to_get_one(facekd, operator: Path, photos: Path) -> None:
    ran = facekd("verify", photos / "a.jpg", photos / "b.jpg")
    assert (ran.code, ran.out) == (2, "")
    assert "--threshold" in ran.err
    assert "not calibrated" in ran.err


def test_several_faces_are_said(facekd, operator: Path, photos: Path) -> None:
    ran = facekd("verify", photos / "two.jpg", photos / "a.jpg", "--threshold", 0)
    assert ran.code in (0, 1)
    assert "two.jpg: 2 faces, took the one at" in ran.err


@pytest.mark.parametrize(
    ("name", "code"),
    [("blank.jpg", 3), ("cut.jpg", 5), ("text.jpg", 5), ("empty.jpg", 5), ("absent.jpg", 5), (".", 5)],
)
def test_no_answer_from_a_bad_photo(facekd, operator: Path, photos: Path, name: str, code: int) -> None:
    for pair in ((photos / "a.jpg", photos / name), (photos / name, photos / "a.jpg")):
        ran = facekd("verify", *pair, "--threshold", 0.3)
        assert (ran.code, ran.out) == (code, "")
        assert (photos / name).name in ran.err
        assert "Traceback" not in ran.err


class TestCompatible:
    """A gallery that another model filled, which the model's card names as compatible."""

    @pytest.fixture
    def other(self, facekd, operator: Path, photos: Path, tiny: Path, tmp_path: Path) -> Path:
        """A calibrated model with a score map; the gallery is the other's, with Ann in it."""
        facekd("enroll", "Ann", photos / "a.jpg", photos / "b.jpg")
        model = write_tiny_model(tmp_path / "other.onnx", seed=1, calibration=(calibration(),))
        with_map(model, LogisticCurve(slope=10, offset=-4))
        network = load_onnx(model)
        card = card_of(network, "other")[0]
        spaces = (card_of(load_onnx(tiny), "tiny")[0].space,)
        write_card(network, card.model_copy(update={"compatible_with": spaces}), model)
        return model

    def test_a_claim_is_the_score_of_both_models(
        self, facekd, operator: Path, photos: Path, tiny: Path, other: Path
    ) -> None:
        ran = facekd(
            "verify", "--claim", "Ann", photos / "c.jpg", "--model", other, "--threshold", 0.5, "--json"
        )
        assert ran.code in (0, 1), ran.err
        told = json.loads(ran.out)
        filled = [Recognizer(tiny).recognise(photos / name).embedding for name in ("a.jpg", "b.jpg")]
        template = np.mean(filled, axis=0)
        probe = Recognizer(other).recognise(photos / "c.jpg").embedding
        expected = float(template @ probe / np.linalg.norm(template))
        assert told["score"] == pytest.approx(expected, abs=1e-5)
        assert told["probability"] is None
        assert any("made with tiny, which the card of other lists as compatible" in n for n in told["notes"])

    def test_the_cards_threshold_says_nothing_of_it(self, facekd, photos: Path, other: Path) -> None:
        ran = facekd("verify", "--claim", "Ann", photos / "c.jpg", "--model", other)
        assert (ran.code, ran.out) == (2, "")
        assert "no threshold is known between other and tiny" in ran.err
        assert "facekd compatibility" in ran.err

    def test_nobody_is_enrolled_there(self, facekd, photos: Path, other: Path) -> None:
        ran = facekd("enroll", "Bo", photos / "c.jpg", "--model", other)
        assert ran.code == 4
        assert "is incompatible with" in ran.err
        assert "Bo" not in facekd("gallery", "list").out


class TestClaim:
    @pytest.fixture(autouse=True)
    def enrolled(self, facekd, operator: Path, photos: Path) -> None:
        assert facekd("enroll", "Ann", photos / "a.jpg", photos / "b.jpg").code == 0

    def test_a_true_one(self, facekd, operator: Path, photos: Path, tiny: Path) -> None:
        ran = facekd("verify", "--claim", "Ann", photos / "c.jpg", "--threshold", 0.5, "--json")
        assert ran.code == 0
        answer = json.loads(ran.out)
        assert (answer["claim"], answer["templates"], answer["same"]) == ("Ann", 2, True)
        recognizer = Recognizer(tiny)
        a, b, c = (recognizer.recognise(photos / f"{f}.jpg").embedding for f in "abc")
        expected = float(c @ (a + b) / np.linalg.norm(a + b))
        assert answer["score"] == pytest.approx(expected, abs=1e-5)

    def test_a_false_one(self, facekd, operator: Path, photos: Path) -> None:
        ran = facekd("verify", "--claim", "Ann", photos / "mirrored.jpg", "--threshold", 0.9999)
        assert ran.code == 1
        assert ran.out.startswith("different person from Ann (2 photos)")

    def test_an_unknown_name(self, facekd, operator: Path, photos: Path) -> None:
        ran = facekd("verify", "--claim", "Bo", photos / "c.jpg", "--threshold", 0.5)
        assert (ran.code, ran.out) == (2, "")
        assert "'Bo' is not enrolled" in ran.err
        ran = facekd("verify", "--claim", "Bo", photos / "c.jpg", "--threshold", 0.5, "--json")
        answer = json.loads(ran.out)
        assert (ran.code, answer["same"], answer["failure"]["reason"]) == (2, None, "unknown_person")

    def test_another_model(self, facekd, operator: Path, photos: Path, tmp_path: Path) -> None:
        other = write_tiny_model(tmp_path / "other.onnx", seed=1)
        ran = facekd("verify", "--claim", "Ann", photos / "c.jpg", "--threshold", 0.5, "--model", other)
        assert (ran.code, ran.out) == (4, "")

    def test_no_gallery(self, facekd, operator: Path, photos: Path, tmp_path: Path) -> None:
        ran = facekd(
            "verify", "--claim", "Ann", photos / "c.jpg", "--threshold", 0.5, "--gallery", tmp_path / "no.db"
        )
        assert (ran.code, ran.out) == (5, "")
        assert not (tmp_path / "no.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a.jpg",),
        ("a.jpg", "b.jpg", "c.jpg"),
        ("--claim", "Ann"),
        ("--claim", "Ann", "a.jpg", "b.jpg"),
        ("a.jpg", "b.jpg", "--threshold", "2"),
        ("a.jpg", "b.jpg", "--threshold", "nan"),
        ("a.jpg", "b.jpg", "--threshold", "0.3", "--fmr", "0.001"),
        ("a.jpg", "b.jpg", "--threshold", "0.3", "--detector", "mctnn"),
        ("a.jpg", "b.jpg", "--threshold", "0.3", "--device", "abacus"),
        ("a.jpg", "b.jpg", "--treshold", "0.3"),
    ],
)
def test_calls_that_make_no_sense(facekd, operator: Path, photos: Path, arguments, monkeypatch) -> None:
    monkeypatch.chdir(photos)
    ran = facekd("verify", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


@pytest.mark.needs_faces
def test_real_pairs(facekd, operator: Path, faces: Path, tmp_path: Path) -> None:
    """The first four mated and four non-mated pairs of LFW, with a fixed threshold."""
    rows = [line.split() for line in (faces / "protocols" / "lfw_pairs.txt").read_text().splitlines()]
    mated = [row for row in rows if len(row) == 3][:4]
    non_mated = [row for row in rows if len(row) == 4][:4]
    photo = lambda name, number: f"{name}/{name}_{int(number):04d}.jpg"  # noqa: E731
    pairs = [(photo(n, a), photo(n, b), 0) for n, a, b in mated]
    pairs += [(photo(n, a), photo(m, b), 1) for n, a, m, b in non_mated]
    with zipfile.ZipFile(faces / "lfw.zip") as pack:
        pack.extractall(tmp_path, {name for pair in pairs for name in pair[:2]})
    model = by_convention(faces / "models" / "edgeface_xs.onnx", tmp_path)
    detector = f"scrfd:{faces / 'detectors' / 'scrfd_500m.onnx'}"
    common = ("--model", model, "--detector", detector, "--threshold", 0.3)
    codes = [facekd("verify", tmp_path / a, tmp_path / b, *common).code for a, b, _ in pairs]
    assert codes == [expected for *_, expected in pairs]
