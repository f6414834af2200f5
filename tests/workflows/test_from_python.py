"""align, evaluate and distill called from Python, compared with the commands."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from patterned_people import write_people
from small_photos import need_mtcnn, write_photos
from small_run import make_place, recipe
from tiny_model import write_tiny_model

from facekd.card import ARCFACE_CROP, BoxCrop, arcface_crop
from facekd.errors import NoFace, RecipeError, SeveralFaces, UsageError
from facekd.preprocess import decode
from facekd.preprocess.detectors import make_detector
from facekd.workflows import align_photo, distill_recipe, evaluate_files


class TestAlign:
    @pytest.fixture(scope="class")
    def photos(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        need_mtcnn()
        return write_photos(tmp_path_factory.mktemp("photos"))

    def test_the_crop_is_the_commands(self, facekd: Callable, photos: Path, tmp_path: Path) -> None:
        ran = facekd("align", photos / "a.jpg", photos / "b.jpg", tmp_path / "crops", "--format", "png")
        assert ran.code == 0, ran.err
        for name in ("a", "b"):
            crop = align_photo(photos / f"{name}.jpg")
            np.testing.assert_array_equal(crop.pixels, decode(tmp_path / "crops" / f"{name}.png").pixels)
            assert crop.photo.pixels.shape == (200, 200, 3)
            assert 0 < crop.quality <= 1

    def test_as_a_model_wants_it(self, photos: Path) -> None:
        for spec in (ARCFACE_CROP, arcface_crop(160), BoxCrop(size=96, margin=8)):
            assert align_photo(photos / "a.jpg", spec=spec).pixels.shape == (spec.size, spec.size, 3)
        content = (photos / "a.jpg").read_bytes()
        by_bytes = align_photo(content, detector=make_detector("mtcnn"))
        np.testing.assert_array_equal(by_bytes.pixels, align_photo(decode(content).pixels).pixels)

    def test_one_face_or_an_error(self, photos: Path) -> None:
        with pytest.raises(NoFace, match=r"blank\.jpg"):
            align_photo(photos / "blank.jpg")
        with pytest.raises(SeveralFaces, match=r"two\.jpg: 2 faces"):
            align_photo(photos / "two.jpg")
        assert align_photo(photos / "two.jpg", on_many="best").pixels.shape == (112, 112, 3)
        with pytest.raises(UsageError, match="no detector is named 'nobody'"):
            align_photo(photos / "a.jpg", detector="nobody")
        with pytest.raises(UsageError, match="no policy is named"):
            align_photo(photos / "a.jpg", on_many="any")
        with pytest.raises(TypeError, match="not list"):
            align_photo([photos / "a.jpg"])  # type: ignore[arg-type]


class TestEvaluate:
    @pytest.fixture(scope="class")
    def people(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_people(tmp_path_factory.mktemp("people"))

    def test_each_result_is_that_of_the_command(self, facekd: Callable, people: Path, tmp_path: Path) -> None:
        models = [write_tiny_model(tmp_path / f"{name}.onnx", seed) for seed, name in enumerate("ab")]
        ran = facekd(
            "evaluate", *models, "--protocol", "people", "--data", people, "--aligned", "--json"
        )  # fmt: skip
        assert ran.code == 0, ran.err
        results = evaluate_files(models, protocol="people", data=people, detector=None)
        told = json.loads(ran.out)["models"]
        assert json.loads(json.dumps([result.to_dict() for result in results])) == told
        assert [result.name for result in results] == ["a", "b"]
        (alone,) = evaluate_files(str(models[0]), protocol="people", data=str(people), detector=None)
        assert alone.to_dict() == results[0].to_dict()
        page = alone.report(tmp_path / "page.html").read_text(encoding="utf-8")
        assert "<html" in page
        assert "Hardest comparisons" in page

    def test_a_list_is_given_or_found(self, people: Path, tmp_path: Path) -> None:
        model = write_tiny_model(tmp_path / "a.onnx")
        rows = ["path1,path2,label"]
        for number in range(20):
            rows += [
                f"P{number:02d}/1.png,P{number:02d}/2.png,1",
                f"P{number:02d}/1.png,P{number + 1:02d}/3.png,0",
            ]
        listed = tmp_path / "some.csv"
        listed.write_text("\n".join(rows))
        (found,) = evaluate_files(model, protocol="pairs", data=people, pairs=listed, detector=None)
        assert found.to_dict()["comparisons"] == {
            "mated": 20, "non_mated": 20, "failed_mated": 0, "failed_non_mated": 0,
        }  # fmt: skip
        with pytest.raises(UsageError, match="needs its list"):
            evaluate_files(model, protocol="lfw", data=people)
        with pytest.raises(UsageError, match="no protocol is named 'nobody'"):
            evaluate_files(model, protocol="nobody", data=people)
        with pytest.raises(UsageError, match="no model to evaluate"):
            evaluate_files([], protocol="people", data=people)


class TestDistill:
    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        make_place(tmp_path)
        recipe(tmp_path)  # writes the file
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FACEKD_CACHE", str(tmp_path / "cache"))
        return tmp_path

    def test_the_run_is_that_of_the_command(
        self, facekd: Callable, place: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "facekd.train"):
            run = distill_recipe("recipe.toml")
        assert run.folder == Path("runs/recipe")
        assert any("training plainres on cpu" in message for message in caplog.messages)
        ran = facekd("distill", "recipe.toml", "--run", "runs/command")
        assert ran.code == 0, ran.err
        weights = [place / "runs" / name / "checkpoints" / "last" for name in ("recipe", "command")]
        same = [sorted(file.name for file in folder.iterdir()) for folder in weights]
        assert same[0] == same[1]
        one, other = (folder / "model.safetensors" for folder in weights)
        assert one.read_bytes() == other.read_bytes()
        assert run.metrics[-1]["finished"] is True
        assert run.metrics[-1]["images"] == run.outcome.images == 96
        assert run.student.dim == 16
        assert not run.student.training

    def test_a_taken_folder_and_a_faulty_recipe_are_refused(self, place: Path) -> None:
        (place / "faulty.toml").write_text("nonsense = 1\n")
        with pytest.raises(RecipeError, match="nonsense"):
            distill_recipe("faulty.toml")
        (place / "taken").mkdir()
        (place / "taken" / "file").touch()
        with pytest.raises(UsageError, match="taken"):
            distill_recipe(place / "recipe.toml", run="taken")

    def test_a_finished_run_can_be_resumed(self, place: Path) -> None:
        first = distill_recipe("recipe.toml", run=place / "run")
        again = distill_recipe("recipe.toml", run=place / "run", resume=True)
        assert again.outcome.images == first.outcome.images
        with pytest.raises(UsageError, match="exists already"):
            distill_recipe("recipe.toml", run=place / "run")

    def test_what_cannot_be_exported_is_said(self, place: Path) -> None:
        run = distill_recipe("recipe.toml")
        with pytest.raises(UsageError, match="crops are too few"):
            run.export()
        write_people(place / "measured", people=40)
        done = run.export(place / "out.onnx", data=[place / "measured"])
        assert done.path == place / "out.onnx"
        assert done.card.embedding.dim == 16
