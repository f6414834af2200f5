"""Every loss against its formula, written out again in numpy, and its gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from facekd.distill.losses import Classes, Example, Setting, check_settings, loss_class, loss_names
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets

N, STUDENT, TEACHER, CLASSES = 12, 6, 9, 4


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def data() -> tuple[Outputs, Targets, Example, Setting]:
    """Twelve crops; labels 0 to 4, of which label 2 has too few crops to be a class."""
    rng = np.random.default_rng(3)
    teacher = unit(rng.normal(size=(N, TEACHER))).astype(np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3, 3, -1, -1])
    of_label = torch.tensor([0, 1, -1, 2, 3, -1])
    sums = np.zeros((CLASSES, TEACHER), np.float32)
    for row, label in zip(teacher, labels, strict=True):
        if of_label[label] >= 0:
            sums[of_label[label]] += row
    sums[3] = unit(rng.normal(size=TEACHER)) * 3  # a class with nobody in this batch
    setting = Setting(STUDENT, TEACHER, Classes(of_label, torch.tensor(sums)), torch.tensor(teacher))
    student = torch.tensor(rng.normal(size=(N, STUDENT)), dtype=torch.float32, requires_grad=True)
    example = Example(torch.tensor(labels), torch.tensor(teacher))
    return Outputs(student), Targets(torch.tensor(teacher)), example, setting


def gradient_agrees(loss: torch.nn.Module, name: str, embedding: Tensor, *rest: object) -> None:
    """The derivative along a random direction, by autograd and by central differences."""
    loss = loss.double()
    start = embedding.detach().double().requires_grad_()
    loss(Outputs(start), *rest)[name].backward()
    rng = torch.Generator().manual_seed(5)
    direction = torch.randn(start.shape, generator=rng, dtype=torch.float64)
    step = 1e-2  # losses work in float32 inside
    values = [loss(Outputs(start.detach() + sign * step * direction), *rest)[name].item() for sign in (1, -1)]
    assert start.grad is not None
    expected = (start.grad * direction).sum().item()
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=2e-2, abs=2e-3)


def test_the_registry_lists_the_folder() -> None:
    assert {"arcface", "cosface", "cosine", "logit"} <= set(loss_names())
    with pytest.raises(RecipeError, match=r"cosinus(.|\n)*Known: .*cosine"):
        loss_class("cosinus")
    assert check_settings("logit", {"tempreature": 2}) == [
        "loss 'logit' has no setting 'tempreature' (it has: temperature, scale, classifier)"
    ]


def test_cosine_with_equal_sizes_is_one_minus_cos(data) -> None:
    _, teacher, example, setting = data
    same = Setting(TEACHER, TEACHER, setting.classes, setting.sample)
    rows = torch.tensor(np.random.default_rng(1).normal(size=(N, TEACHER)), dtype=torch.float32)
    loss = loss_class("cosine")(same)
    assert not list(loss.parameters())
    expected = np.mean(1 - np.sum(unit(rows.numpy()) * teacher.embedding.numpy(), axis=1))
    assert loss(Outputs(rows), teacher, example, 0.0)["cosine"].item() == pytest.approx(expected, rel=1e-5)
    # the unit stated in the docs: MSE of unit vectors, mean over D, is (2 / D)(1 - cos)
    mse = np.mean((unit(rows.numpy()) - teacher.embedding.numpy()) ** 2)
    assert mse == pytest.approx(2 / TEACHER * expected, rel=1e-5)
    gradient_agrees(loss, "cosine", rows, teacher, example, 0.0)


def test_cosine_projects_where_sizes_differ(data) -> None:
    student, teacher, example, setting = data
    loss = loss_class("cosine")(setting)
    projected = student.embedding.detach().numpy() @ loss.projector.weight.detach().numpy().T
    expected = np.mean(1 - np.sum(unit(projected) * teacher.embedding.numpy(), axis=1))
    assert loss(student, teacher, example, 0.0)["cosine"].item() == pytest.approx(expected, rel=1e-5)
    gradient_agrees(loss, "cosine", student.embedding, teacher, example, 0.0)


def test_cosine_by_pca_keeps_the_most_length(data) -> None:
    student, teacher, example, setting = data
    loss = loss_class("cosine")(setting, match="pca")
    rows = teacher.embedding.numpy().astype(np.float64)
    _, _, directions = np.linalg.svd(rows, full_matrices=False)
    reduced = rows @ directions[:STUDENT].T
    kept = (rows @ loss.basis.double().numpy()) ** 2
    assert kept.sum() == pytest.approx((reduced**2).sum(), rel=1e-5)
    cosines = np.sum(
        unit(student.embedding.detach().numpy()) * unit(rows @ loss.basis.double().numpy()), axis=1
    )
    assert loss(student, teacher, example, 0.0)["cosine"].item() == pytest.approx(
        np.mean(1 - cosines), rel=1e-5
    )
    with pytest.raises(RecipeError, match="enlarge"):
        loss_class("cosine")(Setting(12, TEACHER, setting.classes, setting.sample), match="pca")


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


@pytest.mark.parametrize("classifier", ["own", "shared"])
def test_logit_is_the_softened_divergence_with_each_crop_left_out(data, classifier: str) -> None:
    student, teacher, example, setting = data
    temperature, scale = 3.0, 16.0
    loss = loss_class("logit")(setting, temperature=temperature, scale=scale, classifier=classifier)
    rows, sums = teacher.embedding.numpy(), setting.classes.sums.numpy()
    total, count = 0.0, 0
    for i, label in enumerate(example.labels.tolist()):
        wanted = int(setting.classes.of_label[label])
        if wanted < 0:
            continue
        prototypes = sums.copy()
        prototypes[wanted] -= rows[i]
        z_t = scale * unit(prototypes) @ rows[i]
        embedding = student.embedding[i].detach().numpy()
        if classifier == "own":
            z_s = scale * unit(loss.weight.detach().numpy()) @ unit(embedding)
        else:
            z_s = scale * unit(prototypes) @ unit(loss.projector.weight.detach().numpy() @ embedding)
        p, q = softmax(z_t / temperature), softmax(z_s / temperature)
        total += float(np.sum(p * (np.log(p) - np.log(q))))
        count += 1
    assert count == 9
    found = loss(student, teacher, example, 0.0)["logit"].item()
    assert found == pytest.approx(temperature**2 * total / count, rel=1e-4)
    gradient_agrees(loss, "logit", student.embedding, teacher, example, 0.0)


def test_a_batch_without_labels_gives_zero_with_a_gradient(data) -> None:
    student, teacher, example, setting = data
    unlabelled = Example(torch.full((N,), -1), example.own)
    for name in ("logit", "arcface"):
        value = loss_class(name)(setting)(student, teacher, unlabelled, 0.0)[name]
        value.backward()
        assert value.item() == 0


@pytest.mark.parametrize(("name", "margin"), [("arcface", 0.5), ("cosface", 0.35)])
def test_margin_softmax(data, name: str, margin: float) -> None:
    student, _, example, setting = data
    loss = loss_class(name)(setting, margin=margin, scale=8.0)
    cosines = unit(student.embedding.detach().numpy()) @ unit(loss.weight.detach().numpy()).T
    expected = []
    for i, label in enumerate(example.labels.tolist()):
        wanted = int(setting.classes.of_label[label])
        if wanted < 0:
            continue
        z = cosines[i].copy()
        if name == "cosface":
            z[wanted] -= margin
        elif math.acos(z[wanted]) + margin < math.pi:
            z[wanted] = math.cos(math.acos(z[wanted]) + margin)
        else:
            z[wanted] -= margin * math.sin(margin)
        expected.append(-np.log(softmax(8.0 * z)[wanted]))
    found = loss(student, None, example, 0.0)[name].item()
    assert found == pytest.approx(np.mean(expected), rel=1e-5)
    gradient_agrees(loss, name, student.embedding, None, example, 0.0)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("logit", {"temperature": 0}, "above zero"),
        ("logit", {"classifier": "mine"}, "neither shared nor own"),
        ("cosine", {"match": "svd"}, "neither linear nor pca"),
        ("arcface", {"scale": -1}, "above zero"),
    ],
)
def test_settings_that_make_no_sense_are_named(data, name: str, settings: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        loss_class(name)(data[3], **settings)


def test_too_few_classes_are_named(data) -> None:
    nobody = Classes(torch.full((6,), -1), torch.empty(0, TEACHER))
    for name in ("logit", "arcface"):
        with pytest.raises(RecipeError, match="identities"):
            loss_class(name)(Setting(STUDENT, TEACHER, nobody, data[3].sample))
