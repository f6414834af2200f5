"""`calibrate` on patterned crops with the tiny model: what it takes, refuses, finds and writes."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.card.contract import Calibration, Card, Counts, IsotonicCurve, LogisticCurve, Pack
from facekd.card.onnx_file import card_of, load_onnx, read_card
from facekd.card.onnx_file import write_card as write_into
from facekd.errors import InputOutput, Misfit, NoCard, UsageError
from facekd.preprocess import source_digest
from facekd.reporting import lines
from facekd.runtime import load_embedder
from facekd.verification import find_limits, fit_map, metrics
from facekd.workflows import calibrate as workflow
from facekd.workflows import photo_acquisition
from facekd.workflows.calibrate import calibrate_model, find_people
from facekd.workflows.training_data import named_in_training


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("crops") / "staff")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


def png(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((112, 112, 3), value, np.uint8))


class TestPeople:
    def test_one_folder_is_one_person_and_deeper_ones_belong_to_them(self, tmp_path: Path) -> None:
        for value, name in enumerate(("A/1.png", "A/2020/1.png", "B/x/y/1.png", "B/2.png")):
            png(tmp_path / name, value)
        found = find_people(tmp_path)
        assert dict(zip(found.photos, found.labels, strict=True)) == {
            "A/1.png": "A", "A/2020/1.png": "A", "B/x/y/1.png": "B", "B/2.png": "B",
        }  # fmt: skip
        assert (found.sample.people, found.sample.photos, found.non_mated) == (2, 4, 4)

    def test_a_pack_may_have_a_top_folder(self, crops: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "pack.zip", "w") as pack:
            for file in sorted(crops.rglob("*.png")):
                pack.write(file, f"top/{file.relative_to(crops)}")
        found = find_people(tmp_path / "pack.zip")
        assert set(found.labels) == {f"P{n:02d}" for n in range(24)}
        assert found.non_mated == 96 * 95 // 2 - 24 * 6

    def test_the_digest_is_that_of_names_and_contents(self, crops: Path, tmp_path: Path) -> None:
        lines = []
        for file in sorted(crops.rglob("*.png"), key=lambda f: f.relative_to(crops).as_posix()):
            lines.append(file.relative_to(crops).as_posix())
            lines.append(hashlib.sha256(file.read_bytes()).hexdigest())
        text = "".join(f"{line}\n" for line in lines)
        assert find_people(crops).digest == hashlib.sha256(text.encode()).hexdigest()
        copy = shutil.copytree(crops, tmp_path / "copy")
        assert find_people(copy).digest == find_people(crops).digest
        (copy / "P00" / "1.png").rename(copy / "P00" / "9.png")
        renamed = find_people(copy).digest
        png(copy / "P00" / "9.png", 1)
        assert len({find_people(crops).digest, renamed, find_people(copy).digest}) == 3

    def test_a_file_that_is_there_twice_is_compared_once(self, tmp_path: Path) -> None:
        for value, name in enumerate(("A/1.png", "A/2.png", "B/1.png", "B/2.png", "C/1.png")):
            png(tmp_path / name, 10 * value)
        shutil.copy(tmp_path / "A" / "1.png", tmp_path / "A" / "copy.png")
        shutil.copy(tmp_path / "B" / "1.png", tmp_path / "C" / "2.png")
        found = find_people(tmp_path)
        assert found.photos == ("A/1.png", "A/2.png", "B/2.png", "C/1.png")
        assert dict(found.left_out) == {
            "A/copy.png": "the same file as A/1.png",
            "B/1.png": "the same file under several people",
            "C/2.png": "the same file under several people",
        }

    @pytest.mark.parametrize(
        ("names", "told"),
        [
            (("A/1.png", "loose.png"), "loose.png is not in a person's folder"),
            (("A/1.png", "A/2.png"), "1 person, and calibration compares many"),
            (("A/1.png", "B/1.png", "C/1.png"), "each of the 3 people has only one photo"),
        ],
    )
    def test_data_that_will_not_do(self, tmp_path: Path, names: tuple[str, ...], told: str) -> None:
        for value, name in enumerate(names):
            png(tmp_path / name, value)
        with pytest.raises(UsageError, match=told) as caught:
            find_people(tmp_path)
        assert caught.value.fix

    def test_no_images(self, tmp_path: Path) -> None:
        with pytest.raises(InputOutput, match="no image"):
            find_people(tmp_path)


class TestCalibrate:
    def test_the_card_holds_what_a_count_of_all_pairs_gives(self, crops: Path, model: Path) -> None:
        before, bytes_before = read_card(model)[0], network(model)
        found = calibrate_model(model, crops, [1e-2, 1e-3], detector=None)
        card, there = read_card(model)
        assert there
        assert card == found.card
        assert (card.digest, card.space) == (before.digest, before.space)
        assert network(model) == bytes_before
        rows, labels = embedded(model, crops)
        scores, same = rows @ rows.T, labels[:, None] == labels[None, :]
        above = np.triu(np.ones_like(same), 1)
        mated, non_mated = scores[same & above], scores[~same & above]
        (entry,) = card.calibration
        assert entry.threshold == pytest.approx(metrics.threshold_at_fmr(mated, non_mated, 1e-2), abs=1e-6)
        assert entry.fnmr == pytest.approx(metrics.fnmr_at(mated, entry.threshold))
        assert entry.counts == Counts(
            mated=144, non_mated=4416, false_matches=int((non_mated >= entry.threshold).sum()),
            false_non_matches=int((mated < entry.threshold).sum()), failures_to_acquire=0,
        )  # fmt: skip
        assert entry.counts.false_matches == 44
        assert entry.low < 44 / 4416 < entry.high
        assert entry.fnmr_low <= entry.fnmr <= entry.fnmr_high
        fitted = fit_map(rows, labels)
        assert type(card.score_map.curve) in (LogisticCurve, IsotonicCurve)
        assert card.score_map.curve == fitted.curve
        assert (card.score_map.cllr, card.score_map.min_cllr) == (fitted.cllr, fitted.min_cllr)

    def test_the_card_says_what_it_was_measured_on(self, crops: Path, model: Path) -> None:
        card = calibrate_model(model, crops, [1e-2], detector=None).card
        for part in (*card.calibration, card.score_map, card.photo_limits):
            assert part.data == "staff"
            assert (part.sample.people, part.sample.photos) == (24, 96)
            assert part.sample.digest == find_people(crops).digest
            assert part.detector == "none (aligned crops given)"
            assert part.aligner == "that of the crops"
            assert len(part.date) == len("2025-01-01")

    def test_a_rate_that_is_too_low_is_refused_by_name(self, crops: Path, model: Path) -> None:
        found = calibrate_model(model, crops, [1e-3, 1e-2, 1e-3], detector=None)
        assert [entry.fmr for entry in found.card.calibration] == [1e-2]
        (refused,) = found.refused
        assert refused.fmr == 1e-3
        assert "FMR 0.001: insufficient data, 4.42 false matches expected" in refused.cause
        assert "30,000" in refused.fix
        assert any(refused.cause in line for line in lines(found))

    def test_nothing_is_written_where_all_rates_are_refused(
        self, crops: Path, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = model.read_bytes()
        monkeypatch.setattr(workflow, "embed_photos", lambda *_, **__: pytest.fail("embedded for nothing"))
        with pytest.raises(UsageError, match="insufficient data"):
            calibrate_model(model, crops, [1e-3, 1e-4], detector=None)
        assert model.read_bytes() == before

    def test_photos_that_fail_are_counted_and_named(self, crops: Path, model: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(crops, tmp_path / "staff")
        (copy / "P00" / "torn.png").write_bytes((copy / "P00" / "1.png").read_bytes()[:200])
        found = calibrate_model(model, copy, [1e-2], detector=None)
        assert found.failures == (("P00/torn.png", "unreadable"),)
        (entry,) = found.card.calibration
        assert entry.counts.failures_to_acquire == 1
        assert entry.sample.photos == 97
        assert (
            entry.threshold
            == calibrate_model(model, crops, [1e-2], detector=None).card.calibration[0].threshold
        )
        assert "1 failures to acquire (1 unreadable)" in next(lines(found))

    def test_few_people_get_thresholds_and_no_map(self, model: Path, tmp_path: Path) -> None:
        found = calibrate_model(model, write_people(tmp_path / "three", 3, 40), [1e-2], detector=None)
        assert found.card.calibration
        assert found.card.score_map is None
        assert "only 3 of the people" in found.no_map
        assert list(lines(found))[-2] == f"no score map: {found.no_map}"

    def test_the_earlier_calibration_is_replaced_and_told(self, crops: Path, tmp_path: Path) -> None:
        counts = Counts(mated=10, non_mated=10**6, false_matches=100, false_non_matches=1)
        old = Calibration(
            fmr=1e-4, threshold=0.5, low=5e-5, high=2e-4, data="held-out", counts=counts,
            detector="mtcnn", aligner="a-1",
        )  # fmt: skip
        model = write_tiny_model(tmp_path / "tiny.onnx", calibration=(old,))
        found = calibrate_model(model, crops, [1e-2], detector=None)
        assert found.replaced == (old,)
        assert [entry.fmr for entry in read_card(model)[0].calibration] == [1e-2]

    def test_a_model_without_a_card_is_refused(self, crops: Path, model: Path) -> None:
        bare = onnx.load(str(model))
        del bare.metadata_props[:]
        onnx.save(bare, str(model))
        before = model.read_bytes()
        with pytest.raises(NoCard, match="has no card") as error:
            calibrate_model(model, crops, [1e-2], detector=None)
        assert f"facekd card {model} --set input" in str(error.value.fix)
        assert model.read_bytes() == before

    def test_a_model_that_changed_meanwhile_is_left_alone(
        self, crops: Path, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fit = workflow.fit_map

        def fit_and_change(*arguments: object) -> object:
            write_tiny_model(model, seed=9)
            return fit(*arguments)

        monkeypatch.setattr(workflow, "fit_map", fit_and_change)
        with pytest.raises(Misfit, match="was changed during calibration"):
            calibrate_model(model, crops, [1e-2], detector=None)
        assert read_card(model)[0].calibration == ()

    @pytest.mark.parametrize("fmrs", [[], [0.0], [0.02], [float("nan")], [1e-3, -1.0]])
    def test_rates_that_are_none(self, crops: Path, model: Path, fmrs: list[float]) -> None:
        with pytest.raises(UsageError, match=r"at most 0\.01"):
            calibrate_model(model, crops, fmrs, detector=None)

    def test_an_ensemble_has_no_card_to_write(self, crops: Path, tmp_path: Path, model: Path) -> None:
        (tmp_path / "both.toml").write_text('models = ["tiny.onnx"]')
        with pytest.raises(UsageError, match="an ensemble has no card"):
            calibrate_model(tmp_path / "both.toml", crops, [1e-2], detector=None)

    def test_an_ensemble_has_not_its_members_map(self, crops: Path, tmp_path: Path, model: Path) -> None:
        calibrate_model(model, crops, [1e-2], detector=None)
        (tmp_path / "both.toml").write_text('models = ["tiny.onnx"]')
        card = load_embedder(tmp_path / "both.toml").card
        assert (card.calibration, card.score_map, card.photo_limits) == ((), None, None)


class TestLimits:
    def test_they_are_those_of_the_crops_themselves(
        self, crops: Path, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # the tiny model shrugs off what makes a crop worse: here any stranger is one too many
        monkeypatch.setattr("facekd.verification.limit_search.MOST_FALSE", 0)
        found = calibrate_model(model, crops, [1e-2], detector=None)
        files = sorted(crops.rglob("*.png"))
        pixels = [np.ascontiguousarray(cv2.imread(str(file))[..., ::-1]) for file in files]
        embedder = load_embedder(model, "cpu", 1)
        expected = find_limits(
            embedder.embed,
            embedder.spec,
            pixels,
            [file.parent.name for file in files],
            found.card.calibration,
        )
        limits = found.card.photo_limits
        assert limits.limits == expected.limits
        assert [limit.reason for limit in limits.limits] == ["too_dark", "too_blurred", "too_noisy"]
        assert (limits.fmr, limits.threshold) == (1e-2, found.card.calibration[0].threshold)
        assert limits.photos == 96

    def test_photos_that_fail_are_not_tried(
        self, crops: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("facekd.verification.limit_search.MOST_FALSE", 0)
        copy = shutil.copytree(crops, tmp_path / "staff")
        (copy / "P00" / "torn.png").write_bytes((copy / "P00" / "1.png").read_bytes()[:200])
        torn = calibrate_model(model, copy, [1e-2], detector=None).card.photo_limits
        assert torn.limits == calibrate_model(model, crops, [1e-2], detector=None).card.photo_limits.limits

    def test_a_photo_is_read_once_unless_one_that_failed_made_room_for_it(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Five photos of a person are tried: of seven the sixth is, where the first is torn."""
        staff = write_people(tmp_path / "staff", 24, 7)
        read: list[str] = []
        decode = photo_acquisition.decode
        monkeypatch.setattr(
            photo_acquisition, "decode", lambda data, name: (read.append(name), decode(data, name))[1]
        )
        found = calibrate_model(model, staff, [1e-2], detector=None)
        assert sorted(read) == sorted(found.people.photos)
        assert found.card.photo_limits.photos == 24 * 5
        (staff / "P00" / "1.png").write_bytes(b"torn")
        read.clear()
        found = calibrate_model(model, staff, [1e-2], detector=None)
        assert sorted(read) == sorted([*found.people.photos, "P00/6.png"])
        assert found.card.photo_limits.photos == 24 * 5

    def test_why_there_are_none_is_told(
        self, crops: Path, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workflow, "find_limits", lambda *_: "the reason")
        found = calibrate_model(model, crops, [1e-2], detector=None)
        assert found.card.photo_limits is None
        assert list(lines(found))[-1] == "no photo limits: the reason"


class TestTrainedOn:
    @pytest.mark.parametrize(
        ("told", "data", "is_so"),
        [
            ("staff", "staff", True),
            ("Staff", "staff.zip", True),
            ("casia.zip, staff.zip", "staff.zip", True),
            ("our staff of 2024", "staff", True),
            ("staffordshire", "staff", False),
            ("unknown", "staff", False),
            ("", "staff", False),
        ],
    )
    def test_by_name(self, model: Path, tmp_path: Path, told: str, data: str, is_so: bool) -> None:
        assert named_in_training(of(read_card(model)[0], told), tmp_path / data) is is_so

    def test_it_is_said(self, crops: Path, model: Path) -> None:
        write_into(load_onnx(model), of(read_card(model)[0], "staff"), model)
        (note,) = calibrate_model(model, crops, [1e-2], detector=None).notes
        assert "was trained on 'staff'" in note

    @pytest.mark.parametrize("packed", [False, True])
    def test_by_content_it_is_refused(self, crops: Path, model: Path, tmp_path: Path, packed: bool) -> None:
        data = crops
        if packed:
            data = tmp_path / "staff.zip"
            with zipfile.ZipFile(data, "w") as pack:
                for file in sorted(crops.rglob("*.png")):
                    pack.write(file, file.relative_to(crops))
        card = read_card(model)[0]
        packs = (Pack(name="renamed since", digest=source_digest(data)),)
        provenance = card.provenance.model_copy(update={"packs": packs})
        write_into(load_onnx(model), card.model_copy(update={"provenance": provenance}), model)
        before = model.read_bytes()
        with pytest.raises(UsageError, match="was trained on it"):
            calibrate_model(model, data, [1e-2], detector=None)
        assert model.read_bytes() == before
        other = tmp_path / "others"
        shutil.copytree(crops, other)
        (other / "P00" / "1.png").rename(other / "P00" / "one.png")
        assert calibrate_model(model, other, [1e-2], detector=None).card.calibration


def test_a_copy_takes_the_card(crops: Path, model: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    found = calibrate_model(model, crops, [1e-2], detector=None, out=tmp_path / "new" / "copy.onnx")
    assert model.read_bytes() == before
    written = read_card(found.file)[0]
    assert found.file == tmp_path / "new" / "copy.onnx"
    assert written.calibration == found.card.calibration
    assert written.calibration
    assert (written.space, network(found.file)) == (read_card(model)[0].space, network(model))
    with pytest.raises(UsageError, match=r"copy\.bin: the name of a model must end in \.onnx"):
        calibrate_model(model, crops, [1e-2], detector=None, out=tmp_path / "copy.bin")


def test_cards_of_before_are_read(model: Path) -> None:
    """A calibration entry as it was written before there were samples, dates, score maps and limits."""
    stored = read_card(model)[0].model_dump(mode="json")
    del stored["score_map"], stored["photo_limits"]
    stored["calibration"] = [{
        "fmr": 1e-3, "threshold": 0.3, "low": 8e-4, "high": 1.2e-3, "fnmr": 0.02, "data": "held-out",
        "counts": {"mated": 10, "non_mated": 10**5, "false_matches": 100, "false_non_matches": 1,
                   "failures_to_acquire": 0},
        "detector": "mtcnn", "aligner": "a-1",
    }]  # fmt: skip
    card = Card.model_validate(stored)
    assert card.at().threshold == 0.3
    assert (card.at().sample, card.score_map, card.photo_limits) == (None, None, None)


def of(card: Card, data: str) -> Card:
    provenance = card.provenance.model_copy(update={"data": data})
    return card.model_copy(update={"provenance": provenance})


def network(model: Path) -> bytes:
    """The file without its metadata."""
    found = load_onnx(model)
    assert card_of(found, "")[1]
    del found.metadata_props[:]
    return found.SerializeToString(deterministic=True)


def embedded(model: Path, crops: Path) -> tuple[np.ndarray, np.ndarray]:
    files = sorted(crops.rglob("*.png"))
    pixels = np.stack([cv2.imread(str(file))[..., ::-1] for file in files])
    return load_embedder(model).embed(pixels), np.array([file.parent.name for file in files])
