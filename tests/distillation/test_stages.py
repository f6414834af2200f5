"""Losses that come and go, a teacher that learns along, several teachers apart, means of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import TEACHER, losses_of, recipe, run
from tiny_model import write_tiny_model

from facekd.distillation import training_crops
from facekd.distillation.losses import loss_class
from facekd.distillation.weighted_loss import WeightedLoss
from facekd.errors import RecipeError
from facekd.models import build_model
from facekd.training import RunFolder, load_weights

COSINE = '[[loss]]\nname = "cosine"\n'
ARCFACE = '[[loss]]\nname = "arcface"\n'


def parts_of(records: list[dict], name: str) -> list[tuple[int, float]]:
    return [(r["step"], r[name]) for r in records if name in r]


def test_a_weight_goes_along_a_line_and_rests_outside() -> None:
    part = WeightedLoss(torch.nn.Identity(), weight=2.0, final_weight=0.5, begin=0.2, end=0.7)
    found = [part.weight_at(p) for p in (0.0, 0.2, 0.45, 0.6999, 0.7, 1.0)]
    assert found == pytest.approx([0, 2.0, 1.25, 0.5003, 0, 0])
    assert WeightedLoss(torch.nn.Identity(), weight=0.3).weight_at(0.99) == 0.3


def test_two_stages_soft_then_hard(place: Path) -> None:
    soft = '[[loss]]\nname = "logit"\nend = 0.5\n'
    hard = '[[loss]]\nname = "arcface"\nbegin = 0.5\n'
    records = run(place, "run", recipe(place, losses=soft + hard, n=("images = 96", "images = 480")))
    steps = {name: [step for step, _ in parts_of(records, name)] for name in ("logit", "arcface")}
    assert steps == {"logit": [1, 20], "arcface": [40, 60]}  # of 60, one in twenty is logged


def test_mixed_training_moves_from_hard_to_soft(place: Path) -> None:
    hard = '[[loss]]\nname = "arcface"\nweight = 1.0\nfinal_weight = 0.0\n'
    soft = '[[loss]]\nname = "cosine"\nweight = 0.0\nfinal_weight = 1.0\n'
    records = run(place, "run", recipe(place, losses=hard + soft, n=("images = 96", "images = 480")))
    cosine, arcface = (dict(parts_of(records, name)) for name in ("cosine", "arcface"))
    assert 1 not in cosine  # a weight of zero is no work
    # weighted: near the end nearly all of 1 - cos is left, and little of an ArcFace of tens
    assert cosine[60] > cosine[20] * 1.5
    assert arcface[60] < arcface[1] / 10


def test_a_teacher_that_learns_along(place: Path) -> None:
    teacher = (
        '[teacher]\nnetwork = "plainres"\nsettings = { dim = 24, widths = [8, 8, 16, 16], '
        'depths = [0, 0, 0, 1] }\n[[teacher.loss]]\nname = "cosface"\nsettings = { margin = 0.1 }\n'
    )
    chosen = recipe(place, teacher, COSINE, n=("images = 96", "images = 480"))
    cut = run(place, "cut", chosen, stop_after=40)
    assert cut[0]["gradient_share"].keys() == {"cosine", "teacher cosface"}
    # the student does not pull at its teacher, nor the teacher's labels at the student
    assert cut[0]["gradient_share"]["teacher cosface"] == 0
    records = run(place, "cut", chosen, resume=True)
    whole = run(place, "whole", chosen)
    assert losses_of(records) == losses_of(whole)
    for name in ("cosine", "teacher cosface"):
        found = parts_of(whole, name)
        assert found[-1][1] < found[0][1], name
    saved = RunFolder(place / "whole").load("last")
    peer = build_model("plainres", dim=24, widths=[8, 8, 16, 16], depths=[0, 0, 0, 1])
    peer.load_state_dict({k.removeprefix("peer."): v for k, v in saved.task.items() if k.startswith("peer.")})


def test_each_of_several_teachers_by_a_loss_of_its_own(place: Path) -> None:
    write_tiny_model(place / "other.onnx", dim=24, seed=5)
    teacher = '[teacher]\nmodels = ["teacher.onnx", "other.onnx"]\n'
    first = '[[loss]]\nname = "cosine"\nteacher = 1\n'
    second = '[[loss]]\nname = "prototypes"\nteacher = 2\nweight = 0.1\n'
    chosen = recipe(place, teacher, first + second, n=("images = 96", "images = 480"))
    records = run(place, "run", chosen)
    for name in ("cosine 1", "prototypes 2"):
        found = parts_of(records, name)
        assert found[-1][1] < found[0][1], name
    # alone with the first teacher the first loss begins the same
    alone = run(place, "alone", recipe(place, TEACHER, COSINE))
    assert parts_of(alone, "cosine")[0][1] == pytest.approx(parts_of(records, "cosine 1")[0][1], abs=2e-3)


def test_clean_views_are_labelled_once(place: Path) -> None:
    clean = TEACHER + 'rule = "clean-view"\nviews = 3\n'
    run(place, "run", recipe(place, clean, COSINE, n=("images = 96", "images = 64")))
    # beside those of the held-out crops, which judge the teacher
    [file] = [f for f in (place / "cache").glob("*/*.npy") if len(np.load(f)) == 16]
    assert file.name == "view-0.npy"
    # no augmentation but another mirror: the same targets as those of the crops themselves
    from facekd.models.teachers import load_teacher

    crops = training_crops(recipe(place, clean, COSINE))
    expected = load_teacher(place / "teacher.onnx").targets(crops.read(3)[None]).embedding[0].numpy()
    assert np.load(file)[3].astype(np.float32) == pytest.approx(expected, abs=2e-3)


def test_the_mean_of_weights_is_what_is_kept(place: Path) -> None:
    ema = ("precision =", "ema = 0.9\nprecision =")
    chosen = recipe(place, losses=COSINE, ema=ema, n=("images = 96", "images = 240"))
    whole = run(place, "whole", chosen)
    run(place, "cut", chosen, stop_after=20)
    assert losses_of(run(place, "cut", chosen, resume=True)) == losses_of(whole)
    one, other = (load_weights(place / name, "last") for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    live = RunFolder(place / "whole").load("last").optimizer["student"]
    assert any(not torch.equal(one[name], live[name]) for name in one if one[name].is_floating_point())
    plain = run(place, "plain", recipe(place, losses=COSINE, n=("images = 96", "images = 240")))
    assert losses_of(plain) == losses_of(whole)  # averaging looks on
    last = load_weights(place / "plain", "last")
    assert all(torch.equal(last[name], live[name]) for name in last)


def test_a_running_mean_is_the_sum_it_says() -> None:
    from facekd.training.ema import running_mean

    net = torch.nn.Linear(2, 1, bias=False)
    mean = running_mean(net, 0.5)
    expected = None
    for step in range(6):
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[float(step), 1.0 - step]]))
        mean.update_parameters(net)
        now = np.array([step, 1.0 - step])
        decay = min(0.5, step / (step + 9))
        expected = now if expected is None else decay * expected + (1 - decay) * now
    assert mean.module.weight[0].tolist() == pytest.approx(expected.tolist())


def test_a_born_again_student_has_its_own_kind_as_teacher(place: Path) -> None:
    first = run(place, "first", recipe(place, losses=COSINE))
    again = recipe(place, f'[teacher]\nmodels = ["{place / "first"}"]\n', COSINE, s=("seed = 3", "seed = 4"))
    second = run(place, "second", again)
    assert losses_of(second)[-1][1] < losses_of(second)[0][1]
    assert losses_of(first) != losses_of(second)


@pytest.mark.parametrize(
    ("teacher", "losses", "message"),
    [
        (TEACHER, COSINE + "begin = 0.5\nend = 0.4\n", "ends before it begins"),
        (TEACHER, COSINE + "end = 0.4\n", "none is on from 0.4 of the run"),
        (TEACHER, COSINE + "begin = 0.4\n", "none is on from 0 of the run"),
        (TEACHER, COSINE + "weight = 0.0\n", "its weight is 0 throughout"),
        (TEACHER, COSINE + "teacher = 2\n", "there is no teacher 2"),
        ("[teacher]\n", COSINE, "name either frozen models or a network"),
        ('[teacher]\nnetwork = "plainres"\n', COSINE, r"a \[\[teacher.loss\]\] of its own"),
        (TEACHER + '[[teacher.loss]]\nname = "arcface"\n', COSINE, "only a teacher.network is trained"),
        (
            '[teacher]\nnetwork = "plainres"\n[[teacher.loss]]\nname = "cosine"\n',
            COSINE,
            "teacher.loss 'cosine' needs a teacher; a teacher is trained from labels alone",
        ),
        (
            '[teacher]\nnetwork = "plainres"\n[[teacher.loss]]\nname = "arcface"\n',
            '[[loss]]\nname = "logit"\n',
            "'logit': class means need a frozen teacher",
        ),
        (TEACHER + 'rule = "clean-view"\ntargets = "online"\n', COSINE, "the targets of crops are cached"),
    ],
)
def test_faults_of_stages_and_teachers(place: Path, teacher: str, losses: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(place, teacher, losses)


def test_a_teachers_loss_must_be_known(place: Path) -> None:
    teacher = '[teacher]\nnetwork = "plainres"\n[[teacher.loss]]\nname = "arcfac"\n'
    with pytest.raises(RecipeError, match="arcfac"):
        recipe(place, teacher, COSINE)
    assert loss_class("arcface").needs_teacher is False
