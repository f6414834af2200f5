"""Keep the weights near, or pull them towards, those of another network."""

from __future__ import annotations

from torch import Tensor

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, zero_like
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


@register_loss("l2_sp")
class L2SP(Loss):
    """``alpha / 2 |w - w_0|^2 + decay / 2 |w|^2`` over the parameters that `[student] start` provides,
    plus ``beta / 2 |v|^2`` over the others, the head among them. ``w_0`` are the other network's
    weights themselves, whatever share of them the student starts with (``blend``). Units: a sum over
    parameters, not a mean.

    With ``blend = 1`` they are the starting point, and this is L2-SP (Li, Grandvalet, Davoine,
    "Explicit inductive bias for transfer learning with convolutional networks", ICML 2018,
    equation 3; ``decay`` is 0 there). With ``start_by = "equal"``, ``alpha = 1`` and ``beta = decay``
    it is the plain distance of weights, ``|w_s - w_t|^2 / 2 + decay / 2 |w_s|^2``, from any start; with
    ``blend = 0`` from a random one. It is a regulariser: use it beside other losses, and set the
    optimizer's own decay to 0.
    """

    needs_teacher = False
    whole_batch = False

    def __init__(
        self, setting: Setting, alpha: float = 0.01, beta: float = 0.001, decay: float = 0.0
    ) -> None:
        super().__init__()
        if min(alpha, beta, decay) < 0 or alpha + beta + decay == 0:
            raise RecipeError(
                "loss 'l2_sp': alpha, beta and decay must not be negative, and one must be above zero"
            )
        if setting.network is None or not setting.started:
            raise RecipeError("loss 'l2_sp' needs the weights of another network: [student] start")
        self.alpha, self.beta, self.decay = alpha, beta, decay
        # plain tuples: the student's parameters are not this module's
        named, known = dict(setting.network.named_parameters()), setting.started
        self._old = tuple((p, known[n].to(p)) for n, p in named.items() if n in known)
        self._new = tuple(p for n, p in named.items() if n not in known)

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        total: Tensor = zero_like(student)
        for weight, start in self._old:
            total = total + self.alpha / 2 * (weight - start.to(weight)).square().sum()
            if self.decay:
                total = total + self.decay / 2 * weight.square().sum()
        for weight in self._new:
            total = total + self.beta / 2 * weight.square().sum()
        return {"l2_sp": total}
