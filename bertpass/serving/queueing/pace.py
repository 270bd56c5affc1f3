"""How fast the engines compute, measured by every batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

#: Share of the time-out within which a request has to be expected to be computed. The rest is for HTTP, reading texts
#: and errors of the estimate, on processors that may be busy with more than the engines; and when an overload ends,
#: half of the capacity is enough to work off what waits, beside as many new requests, in 0.8 of the time-out.
SHARE = 0.4
#: share of the time-out that a batch may take: whoever comes next waits for it, and all of its rows for its longest
BATCH = 0.1
#: times what a batch was expected to take, from which on it is overdue
LATE = 3
#: weight of the newest batch among all so far
NEWEST = 0.2


class Pace:
    """What the engines have computed lately and compute now.

    The unit of work is a second of one core, so that instances of any size, and models of any, add up.

    Parameters
    ----------
    cores
        Of each instance.
    clock
        Seconds that only rise.
    """

    def __init__(self, cores: Sequence[int], clock: Callable[[], float] = time.monotonic) -> None:
        self.cores, self._clock = list(cores), clock
        self._lately: dict[int, tuple[float, float]] = {}
        self._busy: dict[int, tuple[int, int, float]] = {}

    def begin(self, instance: int, model: int, tokens: int) -> None:
        """A batch goes to an instance."""
        self._busy[instance] = model, tokens, self._clock()

    def end(self, instance: int, computed: bool) -> None:
        """It is computed, or lost."""
        model, tokens, since = self._busy.pop(instance)
        if not computed:
            return
        rate = tokens / (max(self._clock() - since, 1e-6) * self.cores[instance])
        products, weights = self._lately.get(model, (0.0, 0.0))
        # by their tokens: what waits will be computed in large batches, and small ones tell more of what each costs
        self._lately[model] = (1 - NEWEST) * products + tokens * rate, (1 - NEWEST) * weights + tokens

    def rate(self, model: int) -> float:
        """Tokens of a model that one core computes in a second: the mean of its batches, each weighted by its tokens
        and (1 - NEWEST) to the power of its age; infinite before the first."""
        products, weights = self._lately.get(model, (math.inf, 1.0))
        return products / weights

    def work(self, model: int, tokens: float) -> float:
        """Seconds of one core."""
        return tokens / self.rate(model)

    def in_progress(self, instance: int) -> float:
        """The work that an instance still has with its batch; one that is late is expected to be as late again."""
        if instance not in self._busy:
            return 0.0
        model, tokens, since = self._busy[instance]
        return abs(self.work(model, tokens) - (self._clock() - since) * self.cores[instance])

    def expected(self, instance: int, model: int, tokens: int) -> float | None:
        """Seconds that a batch takes on an instance; None before the model's first."""
        rate = self.rate(model)
        return None if math.isinf(rate) else tokens / (rate * self.cores[instance])

    def overdue(self, instance: int, seconds: float) -> bool:
        """Whether an instance has had its batch for longer than that, and than :data:`LATE` times what was expected."""
        if instance not in self._busy:
            return False
        model, tokens, since = self._busy[instance]
        return self._clock() - since > max(seconds, LATE * (self.expected(instance, model, tokens) or 0.0))

    def batch(self, instance: int, model: int, seconds: float) -> float:
        """Tokens that an instance computes in that time."""
        return self.rate(model) * self.cores[instance] * seconds
