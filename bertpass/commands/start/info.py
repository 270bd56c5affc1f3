"""bertpass info: what a model is, without computing anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertpass.commands.run import guarded
from bertpass.commands.start.one_model import ModelOptions
from bertpass.options import flag, parse

if TYPE_CHECKING:
    from bertpass.model.record import Checkpoint

#: what a model with each head is used for: method of Python, command
USES = {"none": "encode() (mean of the token states); bertpass embed", "pooled": "encode(); bertpass embed",
        "embedding": "encode(); bertpass embed", "qa": "answer(); bertpass predict --context",
        "tokens": "tag(); bertpass predict", "ranking": "rerank(); bertpass predict --pair"}


@dataclass
class InfoOptions(ModelOptions):
    """Words and flags of bertpass info."""

    json: bool = flag(False, "write JSON")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    def job() -> None:
        options = parse(InfoOptions, argv, "What a model is: family, size, head, labels, length, pooling, precision.")
        from bertpass.model.checkpoint import load_checkpoint

        told = about(load_checkpoint(options.model, packed=True, given=options.given))
        if options.json:
            print(json.dumps(told, indent=1, ensure_ascii=False))
            return
        for name, value in told.items():
            for at, line in enumerate(value if name == "notes" else [_shown(value)]):
                print(f"{'' if at else name:<16}{line}".rstrip())
    return guarded(job)


def about(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a person asks about a model, as JSON-ready values."""
    from bertpass.model.record import PackedCheckpoint
    from bertpass.text.data.labels import placeholders

    config, head, tokenizer = checkpoint.config, checkpoint.head, checkpoint.tokenizer
    packed = isinstance(checkpoint, PackedCheckpoint)
    found: dict[str, Any] = {
        "model": checkpoint.source,
        "family": config.family,
        "size": f"{config.num_layers} layers, {config.units} units, {config.num_heads} heads, "
                f"{config.vocab_size} tokens",
        "head": head.kind,
        "use": USES.get(head.kind, "predict(); bertpass predict"),
    }
    if head.num_labels:
        found["labels"] = checkpoint.labels or placeholders(head.num_labels)
    if head.kind == "embedding":
        found["pooling"] = f"{head.pooling}, {'scaled to length 1' if head.normalize else 'not scaled'}"
    if head.has_classifier:
        found["scores"] = {"identity": "as computed"}.get(head.scores, head.scores)
    around = checkpoint.sentence
    if around.pooling:
        found["pooling"] = " and ".join(around.pooling)
    if around.layers:
        found["layers"] = ", ".join(layer.kind for layer in around.layers)
    if head.kind in ("embedding", "none", "pooled"):
        found["vector"] = f"{around.size(config.units)} numbers"
    for name, value in (("prompts", dict(around.prompts)), ("default_prompt", around.default_prompt)):
        if value:
            found[name] = value
    found["max_length"] = checkpoint.max_length
    found["positions"] = config.max_length
    found["tokenizer"] = "none: give --vocab" if tokenizer is None else \
        f"{tokenizer.family}, {'lower case' if tokenizer.lower else 'case is kept'}"
    types = sorted({str(array.dtype) for array in checkpoint.params.values()})
    found["weights"] = f"packed, {checkpoint.dtype}" if packed else ", ".join(types)  # type: ignore[attr-defined]
    found["notes"] = list(checkpoint.notes) or ["none"]
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value if len(value) <= 12 else [*value[:12], f"... ({len(value)} in all)"])
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
