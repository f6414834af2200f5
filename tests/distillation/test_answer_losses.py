"""Logit losses against their formulas, written out again in numpy crop by crop."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from batches import CLASSES, TEACHER, Data, N, agrees, classes_in, divergence, make_data, softmax, unit

from facekd.distillation.losses import Example, loss_class
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets

T, SCALE = 3.0, 16.0


@pytest.fixture
def data() -> Data:
    return make_data()


def answers(data: Data, loss: torch.nn.Module) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Student's and teacher's ``scale * cos`` and the class of every crop that has one."""
    found = []
    for i, wanted in classes_in(data):
        prototypes = data.setting.classes.sums.numpy().copy()
        prototypes[wanted] -= data.teacher.embedding[i].numpy()
        theirs = SCALE * unit(prototypes) @ data.teacher.embedding[i].numpy()
        embedding = data.student.embedding[i].detach().numpy()
        mine = SCALE * unit(loss.weight.detach().numpy()) @ unit(embedding)
        found.append((mine, theirs, wanted))
    return found


def softened(data: Data, loss: torch.nn.Module) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Student's and teacher's probabilities at temperature T, and the class."""
    return [(softmax(mine / T), softmax(theirs / T), wanted) for mine, theirs, wanted in answers(data, loss)]


def test_standardised_logits_have_mean_zero_and_deviation_one(data: Data) -> None:
    loss = loss_class("logit")(data.setting, temperature=T, scale=SCALE, standardise=True)
    values = []
    for mine, theirs, _ in answers(data, loss):
        p, q = (softmax((z - z.mean()) / z.std() / T) for z in (theirs, mine))
        values.append(divergence(p, q))
    agrees(data, loss, "logit", T**2 * float(np.mean(values)))


def test_one_vs_rest_is_a_binary_cross_entropy_for_every_class(data: Data) -> None:
    loss = loss_class("one_vs_rest")(data.setting, temperature=T, scale=SCALE)
    values = [-np.sum(p * np.log(q) + (1 - p) * np.log(1 - q)) for q, p, _ in softened(data, loss)]
    agrees(data, loss, "one_vs_rest", T**2 * float(np.mean(values)))


def test_one_vs_rest_is_finite_where_the_student_is_sure(data: Data) -> None:
    loss = loss_class("one_vs_rest")(data.setting, temperature=0.01)
    found = loss(*data[:3], 0.0)["one_vs_rest"]
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(data.student.embedding.grad).all()


def test_dkd_is_the_target_and_the_others_apart(data: Data) -> None:
    loss = loss_class("dkd")(data.setting, alpha=0.7, beta=3.0, temperature=T, scale=SCALE)
    values = []
    for q, p, wanted in softened(data, loss):
        binary = divergence(np.array([p[wanted], 1 - p[wanted]]), np.array([q[wanted], 1 - q[wanted]]))
        others = [np.delete(x, wanted) / (1 - x[wanted]) for x in (p, q)]
        values.append(0.7 * binary + 3.0 * divergence(*others))
    agrees(data, loss, "dkd", T**2 * float(np.mean(values)))


def test_the_two_parts_of_dkd_make_up_the_whole_divergence(data: Data) -> None:
    """KL = TCKD + (1 - p(target)) NCKD for every crop: the paper's decomposition."""
    plain = loss_class("logit")(data.setting, temperature=T, scale=SCALE)
    parts = [
        loss_class("dkd")(data.setting, a, b, temperature=T, scale=SCALE) for a, b in ((1.0, 0.0), (0.0, 1.0))
    ]
    for part in parts:
        part.load_state_dict(plain.state_dict())
    for (i, _), (_, p, wanted) in zip(classes_in(data), softened(data, plain), strict=True):
        student = Outputs(data.student.embedding[i : i + 1])
        example = Example(data.example.labels[i : i + 1], data.example.own[i : i + 1])
        given = student, Targets(data.teacher.embedding[i : i + 1]), example, 0.0
        binary, others = (part(*given)["dkd"].item() for part in parts)
        whole = plain(*given)["logit"].item()
        assert whole == pytest.approx(binary + (1 - p[wanted]) * others, rel=1e-4)


@pytest.mark.parametrize("mass", [0.3, 0.8, 0.999])
def test_gkd_compares_the_top_group_and_its_mass(data: Data, mass: float) -> None:
    loss = loss_class("gkd")(data.setting, mass=mass, temperature=T, scale=SCALE)
    values = []
    for q, p, _ in softened(data, loss):
        order = np.argsort(-p)
        size = min(int(np.searchsorted(np.cumsum(p[order]), mass)) + 1, CLASSES - 1)
        top = order[:size]
        m, n = p[top].sum(), q[top].sum()
        binary = divergence(np.array([m, 1 - m]), np.array([n, 1 - n]))
        values.append(binary + divergence(p[top] / m, q[top] / n))
    agrees(data, loss, "gkd", T**2 * float(np.mean(values)))


def test_dist_is_pearson_over_rows_and_columns(data: Data) -> None:
    loss = loss_class("dist")(data.setting, between=0.5, within=2.0, temperature=T, scale=SCALE)
    found = softened(data, loss)
    q, p = (np.stack([crop[k] for crop in found]) for k in (0, 1))
    rows = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    columns = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    agrees(data, loss, "dist", T**2 * float(0.5 * rows + 2.0 * columns))


def test_temperature_moves_in_a_line(data: Data) -> None:
    moving = loss_class("logit")(data.setting, temperature=2.0, scale=SCALE, final_temperature=6.0)
    for progress, temperature in ((0.0, 2.0), (0.25, 3.0), (1.0, 6.0)):
        still = loss_class("logit")(data.setting, temperature=temperature, scale=SCALE)
        still.load_state_dict(moving.state_dict())
        found, expected = (loss(*data[:3], progress)["logit"].item() for loss in (moving, still))
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("standardise", [False, True])
def test_an_automatic_temperature_gives_the_teacher_the_stated_certainty(
    data: Data, standardise: bool
) -> None:
    # a teacher that knows people: crops near their person's direction
    labels, rng = data.example.labels, np.random.default_rng(0)
    near = unit(rng.normal(size=(6, TEACHER))[labels.numpy()] + 0.5 * rng.normal(size=(N, TEACHER)))
    rows = torch.tensor(near, dtype=torch.float32)
    sums = torch.zeros(CLASSES, TEACHER)
    for i, wanted in classes_in(data):
        sums[wanted] += rows[i]
    sums[3] = data.setting.classes.sums[3]  # nobody in this batch
    classes = dataclasses.replace(data.setting.classes, sums=sums)
    setting = dataclasses.replace(data.setting, classes=classes, sample=rows, sample_labels=labels)
    data = Data(data.student, Targets(rows), Example(labels, rows), setting)
    given = {"scale": SCALE, "standardise": standardise}
    loss = loss_class("dkd")(setting, temperature="auto", target_probability=0.4, **given)
    found = []
    for _, z, wanted in answers(data, loss):
        z = (z - z.mean()) / z.std() if standardise else z
        found.append(softmax(z / loss.temperature)[wanted])
    assert np.mean(found) == pytest.approx(0.4, abs=1e-4)
    with pytest.raises(RecipeError, match="no temperature brings"):
        loss_class("logit")(setting, temperature="auto", target_probability=0.01)
    nobody = dataclasses.replace(setting, sample_labels=torch.full_like(data.example.labels, -1))
    with pytest.raises(RecipeError, match="needs labelled crops"):
        loss_class("logit")(nobody, temperature="auto")
