"""What the passes did, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from bertpass.passes.select import available


@dataclass(frozen=True)
class PassResult:
    """One pass: places rewritten, arguments of the graph added and removed, seconds taken.

    ``max_error`` is the largest absolute difference between the outputs after this pass and those of the graph as it
    was read; None where it was not measured. The graph itself is verified after every pass.
    """

    name: str
    rewrites: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    seconds: float
    max_error: float | None = None


@dataclass(frozen=True)
class PassReport:
    """All passes of one run, in their order; ``str()`` of it is a table."""

    device: str
    library: str | None = None  # path of the library through which MXNet ran them; None: run without MXNet
    passes: list[PassResult] = field(default_factory=list)
    dtype: str = "float32"  # precision of the encoders that native_encoder has put in

    @property
    def max_error(self) -> float | None:
        """Largest absolute difference that all passes together made to the outputs; None where it was not checked."""
        return self.passes[-1].max_error if self.passes else None

    @property
    def rewrites(self) -> int:
        """Places rewritten by all passes."""
        return sum(result.rewrites for result in self.passes)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON can hold it."""
        return {**asdict(self), "rewrites": self.rewrites, "max_error": self.max_error}

    def __str__(self) -> str:
        if not self.passes:
            return f"no passes were run (device {self.device})"
        takers = [info.name for info in available() if info.takes_encoder]
        taken = any(result.name in takers and result.rewrites for result in self.passes)
        rows = [("pass", "rewrites", "arguments", "seconds", "max error", "")]
        for result in self.passes:
            error = "not measured" if result.max_error is None else f"{result.max_error:.3g}"
            remark = "" if result.rewrites else "nothing left" if taken else "NOTHING REWRITTEN"
            rows.append((result.name, str(result.rewrites), f"+{len(result.added)} -{len(result.removed)}",
                         f"{result.seconds:.3f}", error, remark))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        measured = all(result.max_error is not None for result in self.passes)
        return "\n".join(lines if measured else [*lines, "the graph was verified after each pass; its outputs were not "
                                                 "compared"])
