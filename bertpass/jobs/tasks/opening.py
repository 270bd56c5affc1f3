"""A checkpoint from what a person names, for every job: where its other files lie, and the order of its labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from bertpass.model import heads
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import ALIASES, NAMED
from bertpass.model.record import Checkpoint


def load(path: str, *, bert_model: str | None = None, dataset: str | None = None, vocab: str | None = None,
         lower: bool | None = None, num_heads: int | None = None, kind: str | None = None,
         allow_pickle: bool = False) -> Checkpoint:
    """A checkpoint from whatever a person names.

    A ``net.params`` that fine-tuning wrote has its bundle beside it, which says everything else about it; for another
    .params file ``vocab`` and, where the head size is not 64, ``num_heads`` have to be given. ``kind`` is that of the
    head which the job needs: a .params file without a bundle says of a classifier the width alone.
    """
    config = None
    if Path(path).is_file() and bert_model is not None and num_heads is None:
        config = NAMED.get(ALIASES.get(bert_model, bert_model))
    return load_checkpoint(path, dataset=dataset, vocab=vocab, lower=lower, config=config, num_heads=num_heads,
                           job=kind, allow_pickle=allow_pickle)


def in_order(found: Checkpoint, labels: Sequence[str]) -> Checkpoint:
    """The same classifier with its outputs in the order of ``labels``, where it has the same ones in another order.

    Checkpoints of others have their own order (MNLI is a case); labels are compared without regard to case. A
    classifier whose labels are unknown, or other ones, is taken as it is.
    """
    theirs, ours = [label.casefold() for label in found.labels or ()], [label.casefold() for label in labels]
    layers = heads.own_layers(found.config, found.head)
    if not layers or theirs == ours or sorted(theirs) != sorted(ours):
        return found
    last = layers[-1].name
    order = [theirs.index(label) for label in ours]
    moved = {f"{last}.{kind}": found.params[f"{last}.{kind}"][order] for kind in ("weight", "bias")}
    note = f"the classifier's labels {', '.join(found.labels or ())} were put in the order {', '.join(labels)}."
    return dataclasses.replace(found, params={**found.params, **moved}, labels=list(labels),
                               notes=[*found.notes, note])
