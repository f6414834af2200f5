"""What the teacher answers by: class means or its classifier, all classes or some."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import (
    CLASSES,
    STUDENT,
    TEACHER,
    Data,
    N,
    agrees,
    classes_in,
    divergence,
    make_data,
    softmax,
    unit,
)
from small_run import TEACHER as CACHED
from small_run import recipe, run

from facekd.distillation.loss_builder import setting_of_member
from facekd.distillation.loss_inputs import TeacherMember
from facekd.distillation.losses import Classes, Example, Setting, loss_class
from facekd.distillation.losses._margin_softmax import some_classes
from facekd.distillation.teacher_classifier import classifier_of
from facekd.errors import RecipeError, UsageError
from facekd.models import Outputs, Targets
from facekd.training import RunFolder

SCALE, T = 16.0, 3.0
ARCFACE = '[[loss]]\nname = "arcface"\nsettings = { margin = 0.2, scale = 32.0 }\n'
BY_CLASSIFIER = 'settings = { by = "classifier", classifier = "shared", scale = 32.0 }\n'
LEARNING = (
    '[teacher]\nnetwork = "plainres"\n'
    "settings = { dim = 16, widths = [8, 8, 16, 16], depths = [0, 0, 0, 0] }\n"
    '[[teacher.loss]]\nname = "arcface"\nsettings = { margin = 0.2, scale = 32.0 }\n'
)


@pytest.fixture
def data() -> Data:
    return make_data()


@pytest.fixture
def with_classifier(data: Data) -> tuple[Data, torch.nn.Parameter]:
    """The batch, of a teacher that learned by a classifier."""
    rows = torch.nn.Parameter(torch.randn(CLASSES, TEACHER))
    return data._replace(setting=dataclasses.replace(data.setting, classifier=lambda: rows)), rows


def cosines(rows: np.ndarray, embedding: torch.Tensor) -> np.ndarray:
    return unit(rows) @ unit(embedding.detach().numpy())


@pytest.mark.parametrize("classifier", ["own", "shared"])
def test_logits_by_the_teachers_classifier(
    with_classifier: tuple[Data, torch.nn.Parameter], classifier: str
) -> None:
    data, rows = with_classifier
    loss = loss_class("logit")(
        data.setting, temperature=T, scale=SCALE, by="classifier", classifier=classifier
    )
    values = []
    for i, _ in classes_in(data):
        theirs = SCALE * cosines(rows.detach().numpy(), data.teacher.embedding[i])
        if classifier == "own":
            mine = SCALE * cosines(loss.weight.detach().numpy(), data.student.embedding[i])
        else:
            projected = loss.teacher.projector(data.student.embedding[i])
            mine = SCALE * cosines(rows.detach().numpy(), projected)
        values.append(divergence(softmax(theirs / T), softmax(mine / T)))
    agrees(data, loss, "logit", T**2 * float(np.mean(values)))
    assert rows.grad is None  # it is the teacher's


def test_the_teachers_classifier_is_looked_up_at_every_step(
    with_classifier: tuple[Data, torch.nn.Parameter],
) -> None:
    data, rows = with_classifier
    loss = loss_class("logit")(data.setting, by="classifier")
    before = loss(*data[:3], 0.0)["logit"].item()
    with torch.no_grad():
        rows.neg_()
    after = loss(*data[:3], 0.0)["logit"].item()
    with torch.no_grad():
        rows.neg_()
    assert after != pytest.approx(before, rel=1e-3)
    assert loss(*data[:3], 0.0)["logit"].item() == pytest.approx(before)


def test_prototypes_by_the_teachers_classifier(
    with_classifier: tuple[Data, torch.nn.Parameter],
) -> None:
    data, rows = with_classifier
    loss = loss_class("prototypes")(data.setting, by="classifier", margin=0.1, scale=SCALE)
    values = []
    for i, wanted in classes_in(data):
        z = SCALE * cosines(rows.detach().numpy(), loss.teacher.projector(data.student.embedding[i]))
        z[wanted] -= SCALE * 0.1
        values.append(np.log(np.exp(z).sum()) - z[wanted])
    agrees(data, loss, "prototypes", float(np.mean(values)))


def test_margins_by_the_teachers_classifier(with_classifier: tuple[Data, torch.nn.Parameter]) -> None:
    data, rows = with_classifier
    loss = loss_class("margin_distillation")(
        data.setting, "cosface", low=0.1, high=0.6, scale=SCALE, by="classifier"
    )
    values = []
    for i, wanted in classes_in(data):
        sure = max(0.0, float(cosines(rows.detach().numpy(), data.teacher.embedding[i])[wanted]))
        z = SCALE * cosines(rows.detach().numpy(), loss.teacher.projector(data.student.embedding[i]))
        z[wanted] -= SCALE * (0.1 + 0.5 * sure)
        values.append(np.log(np.exp(z).sum()) - z[wanted])
    agrees(data, loss, "margin_distillation", float(np.mean(values)))


@pytest.mark.parametrize("classifier", ["own", "shared"])
def test_sampled_answers_are_a_softmax_over_the_sample(data: Data, classifier: str) -> None:
    loss = loss_class("logit")(data.setting, T, SCALE, classifier, sample=0.75)
    torch.manual_seed(4)
    compared = some_classes(torch.tensor([c for _, c in classes_in(data)]), CLASSES, 0.75).tolist()
    assert len(compared) == 3
    torch.manual_seed(4)
    value = loss(*data[:3], 0.0)["logit"]
    values = []
    for i, wanted in classes_in(data):
        means = data.setting.classes.sums.numpy().copy()
        means[wanted] -= data.teacher.embedding[i].numpy()
        theirs = cosines(means, data.teacher.embedding[i])
        if classifier == "own":
            mine = cosines(loss.rows.weight.detach().numpy(), data.student.embedding[i])
        else:
            mine = cosines(means, loss.teacher.projector(data.student.embedding[i]))
        p, q = (softmax(SCALE * z[compared] / T) for z in (theirs, mine))
        values.append(divergence(p, q))
    assert value.item() == pytest.approx(T**2 * float(np.mean(values)), rel=1e-4)


@pytest.mark.parametrize("name", ["prototypes", "adadistill"])
def test_sampled_centres_are_a_softmax_over_the_sample(data: Data, name: str) -> None:
    loss = loss_class(name)(data.setting, "cosface", margin=0.1, scale=SCALE, sample=0.75)
    given = data.student, data.teacher, data.example, 0.0
    torch.manual_seed(4)
    compared = some_classes(torch.tensor([c for _, c in classes_in(data)]), CLASSES, 0.75).tolist()
    torch.manual_seed(4)
    value = loss(*given)[name]
    values = []
    for i, wanted in classes_in(data):
        projector = loss.projector if name == "adadistill" else loss.teacher.projector
        centres = (loss.centres if name == "adadistill" else data.setting.classes.sums).numpy().copy()
        if name == "prototypes":
            centres[wanted] -= data.teacher.embedding[i].numpy()
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        z = SCALE * centres @ unit(projector(data.student.embedding[i]).detach().numpy())
        z[wanted] -= SCALE * 0.1
        values.append(np.log(np.exp(z[compared]).sum()) - z[wanted])
    assert value.item() == pytest.approx(float(np.mean(values)), rel=1e-4)


def test_two_hundred_thousand_classes_of_a_teacher() -> None:
    torch.manual_seed(0)
    count, dim, batch = 200_000, 16, 8
    labels = torch.randint(count, (512,))
    sums = torch.nn.functional.normalize(torch.randn(count, dim), dim=1) * 3
    classes = Classes(torch.cat([torch.arange(count), torch.tensor([-1])]), sums)
    rows = torch.nn.functional.normalize(sums[labels] + 0.3 * torch.randn(512, dim), dim=1)
    setting = Setting(dim, dim, classes, rows, sample_labels=labels)
    loss = loss_class("logit")(setting, "auto", classifier="shared", target_probability=0.3, sample=0.001)
    student = torch.randn(batch, dim, requires_grad=True)
    example = Example(labels[:batch], torch.zeros(batch, dim))
    answers = loss.answers(Outputs(student), Targets(rows[:batch]), example, loss.temperature)
    assert answers.teacher.shape == (batch, 200)
    loss(Outputs(student), Targets(rows[:batch]), example, 0.0)["logit"].backward()
    assert student.grad.abs().sum() > 0


def people_of(seed: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit rows [40, dim] near the directions of four persons, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 10)
    rows = unit(rng.normal(size=(4, dim))[labels] + 0.6 * rng.normal(size=(40, dim)))
    return torch.tensor(rows, dtype=torch.float32), torch.tensor(labels)


def means_answers(rows: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Cosines of each row to the four class means, its own without itself."""
    found = []
    for i, row in enumerate(rows):
        means = [rows[(labels == k) & (np.arange(len(rows)) != i)].sum(0) for k in range(4)]
        found.append(unit(np.array(means)) @ row)
    return found


def test_an_automatic_temperature_gives_the_teacher_the_stated_entropy() -> None:
    rows, labels = people_of(0, 8)
    sums = torch.stack([rows[labels == k].sum(0) for k in range(4)])
    setting = Setting(6, 8, Classes(torch.tensor([0, 1, 2, 3, -1]), sums), rows, sample_labels=labels)
    loss = loss_class("logit")(setting, "auto", SCALE, target_entropy=0.7)
    found = []
    for cosine in means_answers(rows.numpy(), labels.numpy()):
        p = softmax(SCALE * cosine.astype(np.float64) / loss.temperature)
        found.append(-np.sum(p * np.log(p)))
    assert np.mean(found) == pytest.approx(0.7, abs=1e-4)


def test_an_automatic_temperature_of_one_teacher_of_two() -> None:
    """Its columns of the joined rows are no unit vectors, and nor are its own shares in the sums."""
    (one, labels), (other, _) = people_of(0, 8), people_of(1, 8)
    joined = torch.nn.functional.normalize(torch.cat([one, other], 1), dim=1)
    sums = torch.stack([joined[labels == k].sum(0) for k in range(4)])
    setting = Setting(6, 16, Classes(torch.tensor([0, 1, 2, 3, -1]), sums), joined, sample_labels=labels)
    loss = loss_class("logit")(setting_of_member(setting, TeacherMember(1, slice(0, 8))), "auto", SCALE)
    answers = means_answers(one.numpy().astype(np.float64), labels.numpy())
    right = [
        softmax(SCALE * cosine / loss.temperature)[label]
        for cosine, label in zip(answers, labels, strict=True)
    ]
    assert np.mean(right) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"by": "mean"}, "by = 'mean' must be means or classifier"),
        ({"by": "classifier"}, "needs a teacher with a classifier"),
        ({"sample": 0.0}, "sample must be above 0"),
        ({"temperature": "auto", "target_entropy": -1.0}, "target_entropy must be above zero"),
        ({"temperature": "auto", "target_entropy": 1.0, "target_probability": 0.5}, "not both"),
        ({"temperature": 4.0, "target_entropy": 1.0}, "a number takes neither"),
    ],
)
def test_answers_that_make_no_sense(data: Data, settings: dict, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        loss_class("logit")(data.setting, **settings)


def test_an_entropy_that_no_temperature_gives() -> None:
    rows, labels = people_of(0, 8)
    sums = torch.stack([rows[labels == k].sum(0) for k in range(4)])
    setting = Setting(6, 8, Classes(torch.tensor([0, 1, 2, 3, -1]), sums), rows, sample_labels=labels)
    with pytest.raises(RecipeError, match=r"mean target entropy to 2 over 4 classes"):
        loss_class("logit")(setting, "auto", target_entropy=2.0)  # log 4 is the most


def test_a_learning_teacher_answers_by_its_classifier(place: Path) -> None:
    losses = f'[[loss]]\nname = "logit"\n{BY_CLASSIFIER}'
    chosen = recipe(place, LEARNING, losses, long=("images = 96", "images = 480"))
    run(place, "mutual", chosen, stop_after=40)
    records = run(place, "mutual", chosen, resume=True)
    found = [r for r in records if "loss" in r]
    assert found[-1]["teacher arcface"] < found[0]["teacher arcface"]
    assert found[-1]["step"] == 60
    assert all(np.isfinite(r["logit"]) for r in found)
    assert max(r["logit"] for r in found) > 0


def test_a_finished_teachers_classifier_serves_another_run(place: Path) -> None:
    run(place, "teacher", recipe(place, "", ARCFACE, long=("images = 96", "images = 240")))
    names = (place / "teacher" / "classes.txt").read_text().split()
    assert names == ["p0", "p1", "p2", "p3"]
    weight = RunFolder(place / "teacher").load("best").task["losses.0.weight"]
    found = classifier_of(str(place / "teacher"), ["p2", "p0"])
    assert torch.equal(found, weight[[2, 0]])
    by = f'[teacher]\nmodels = ["{place / "teacher"}"]\n'
    losses = '[[loss]]\nname = "prototypes"\nsettings = { by = "classifier", scale = 32.0 }\n'
    records = run(place, "student", recipe(place, by, losses, long=("images = 96", "images = 480")))
    found_losses = [r["prototypes"] for r in records if "prototypes" in r]
    assert found_losses[-1] < found_losses[0]


def test_a_classifier_that_is_not_there(place: Path) -> None:
    with pytest.raises(RecipeError, match="needs a teacher with a classifier"):  # an ONNX file has none
        recipe(place, CACHED, f'[[loss]]\nname = "logit"\n{BY_CLASSIFIER}')
    with pytest.raises(UsageError, match="is not a run folder"):
        classifier_of(str(place / "crops"), ["p1"])
    run(place, "teacher", recipe(place, "", ARCFACE))
    with pytest.raises(UsageError, match="1 of 2 identities, for example p9, are not among the 4"):
        classifier_of(str(place / "teacher"), ["p1", "p9"])
    run(place, "cosine", recipe(place, CACHED, '[[loss]]\nname = "cosine"\n'))
    with pytest.raises(UsageError, match="was trained without one"):
        classifier_of(str(place / "cosine"), ["p1"])


def test_what_a_loss_over_classes_lacks_beside_a_learner(place: Path) -> None:
    sampled = LEARNING.replace("scale = 32.0", "scale = 32.0, sample = 0.5")
    with pytest.raises(RecipeError) as told:
        recipe(place, sampled, '[[loss]]\nname = "logit"\nsettings = { temperature = "auto" }\n')
    for fault in ('by = "classifier"', "an unsampled arcface or cosface", "give a number"):
        assert fault in str(told.value)


def test_a_batch_of_nobody_says_nothing(with_classifier: tuple[Data, torch.nn.Parameter]) -> None:
    data, _ = with_classifier
    nobody = Example(torch.full((N,), -1), data.example.own)
    loss = loss_class("logit")(data.setting, by="classifier", sample=0.5)
    found = loss(data.student, data.teacher, nobody, 0.0)["logit"]
    assert found.item() == 0
    assert data.student.embedding.shape == (N, STUDENT)
