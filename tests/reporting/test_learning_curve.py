"""A run's learning curve shows the numbers of its metrics."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
from dark_drawings import check_dark

from facekd.reporting import write_learning_curve, write_run_page
from facekd.reporting.learning_curve import learning_curve, run_drawings

METRICS = [
    {"step": 0, "teacher_heldout_tar_1e-3": 0.95, "teacher_heldout_interval": [0.93, 0.97]},
    {"step": 1, "gradient_share": {"cosine": 0.4, "logit": 0.6}},
    {"step": 1, "images": 8, "loss": 3.0, "cosine": 1.0, "logit": 2.0, "rate": 0.1, "gradient_norm": 1.0},
    {"step": 20, "images": 160, "loss": 1.5, "cosine": 0.5, "logit": 1.0, "rate": 0.1, "gradient_norm": 1.0},
    {"step": 20, "images": 160, "heldout_tar_1e-3": 0.6},
    {"step": 40, "images": 320, "loss": 1.0, "cosine": 0.4, "rate": 0.1, "gradient_norm": 1.0},
    {"step": 40, "images": 320, "heldout_tar_1e-3": 0.8},
    {"finished": True, "images": 320, "heldout_interval": [0.75, 0.84]},
]


def test_every_part_and_both_scores_are_drawn() -> None:
    figure = learning_curve(METRICS)
    assert figure is not None
    losses, scores = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert lines == {
        "loss": [[8, 3.0], [160, 1.5], [320, 1.0]],
        "cosine": [[8, 1.0], [160, 0.5], [320, 0.4]],
        "logit": [[8, 2.0], [160, 1.0]],
    }
    assert [line.get_label() for line in scores.lines] == ["student", "teacher"]
    assert scores.lines[0].get_xydata().tolist() == [[160, 60], [320, 80]]
    assert set(scores.lines[1].get_ydata()) == {95}


def test_both_drawings_on_a_dark_screen() -> None:
    names = []
    for drawing in run_drawings(METRICS):
        check_dark(drawing)
        names.append(drawing.name)
    assert names == ["loss", "heldout"]


def test_a_loss_alone_is_drawn_once_and_nothing_is_nothing(tmp_path: Path) -> None:
    alone = [{"step": k, "images": 8 * k, "loss": 1.0 / k, "cosine": 1.0 / k} for k in (1, 2)]
    figure = learning_curve(alone)
    assert figure is not None
    (panel,) = figure.axes
    assert [line.get_label() for line in panel.lines] == ["loss"]
    assert learning_curve(METRICS[:3]) is None
    assert not write_learning_curve([], tmp_path / "curve.png")
    assert write_learning_curve(METRICS, tmp_path / "curve.png")
    assert cv2.imread(str(tmp_path / "curve.png")).std() > 1


def test_the_page_shows_the_teacher_beside_the_student(tmp_path: Path) -> None:
    page = write_run_page(METRICS, "a<b", tmp_path / "run.html").read_text()
    assert "a&lt;b" in page
    assert "The student saw 320 images." in page
    matched = "it matches 80.00 % of the mated pairs of the held-out people (95 % interval 75.00 to 84.00)"
    assert matched in page
    assert "; its teacher matches 95.00 % (95 % interval 93.00 to 97.00)." in page
    # of the student only the last look has an interval
    assert re.findall(r"<small>(.*?)</small>", page) == ["93.00 to 97.00", "75.00 to 84.00"]
    assert page.index("95.00 %") < page.index("after 160 images") < page.index("after 320 images")
    assert page.count("data:image/svg") == 4  # two pictures, for a light and a dark screen
    alone = write_run_page(METRICS[1:3], "run", tmp_path / "alone.html").read_text()
    assert "not measured" in alone
    assert "data:image" not in alone
