"""The optimisers of --optimizer in PyTorch, with the updates that they have in MXNet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bertpass.errors import UsageError
from bertpass.jobs.training.loop_options import LoopOptions

NAMES = ("bertadam", "adam", "adamw", "sgd")
NO_DECAY = ("beta", "gamma", "bias")  # how names of parameters without decay end
FIRST, SECOND = 0.9, 0.999


def check_optimizer(name: str) -> None:
    """UsageError for an optimiser that is not here."""
    if name not in NAMES:
        raise UsageError(f"--optimizer {name}: fine-tuning through PyTorch has {', '.join(NAMES)}.")


def bert_adam(torch: Any) -> type:
    """Adam without bias correction, weight decay beside the gradient (Devlin et al. 2018).

        w = w - rate * (m / (sqrt(v) + epsilon) + decay * w)
    """
    class BertAdam(torch.optim.Optimizer):  # type: ignore[misc]
        @torch.no_grad()  # type: ignore[untyped-decorator]
        def step(self, closure: None = None) -> None:
            for group in self.param_groups:
                for parameter in group["params"]:
                    gradient, state = parameter.grad, self.state[parameter]
                    if not state:
                        state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                    mean = state["mean"].mul_(FIRST).add_(gradient, alpha=1 - FIRST)
                    square = state["square"].mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
                    update = mean / square.sqrt().add_(group["eps"])
                    update.add_(parameter, alpha=group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"])

    return BertAdam


class Optimizer:
    """One of :data:`NAMES` over named parameters.

    Adam's epsilon is the paper's "epsilon hat", as in MXNet: it stands beside the root of the squares before their
    correction.
    """

    def __init__(self, torch: Any, named: Mapping[str, Any], options: LoopOptions) -> None:
        self._torch, self._name, self._epsilon = torch, options.optimizer, options.epsilon
        self._steps = 0
        plain = [p for name, p in named.items() if not name.endswith(NO_DECAY)]
        groups = [{"params": plain, "weight_decay": options.decay},
                  {"params": [p for name, p in named.items() if name.endswith(NO_DECAY)], "weight_decay": 0.0}]
        made = {"bertadam": bert_adam(torch), "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
                "sgd": torch.optim.SGD}[self._name]
        given = {"lr": options.lr} if self._name == "sgd" else {"lr": options.lr, "eps": options.epsilon}
        self._optimizer = made(groups, **given) if self._name != "bertadam" else made(groups, given)

    def step(self, rate: float) -> None:
        """Update the parameters by their gradients."""
        self._steps += 1
        for group in self._optimizer.param_groups:
            group["lr"] = rate
            if self._name == "adam":
                group["eps"] = self._epsilon / math.sqrt(1 - SECOND ** self._steps)
        self._optimizer.step()

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` takes."""
        return {"optimizer": self._optimizer.state_dict(), "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._steps = int(state["steps"])
