"""Fine-tuning by PyTorch and transformers, as a control of ours: the same start, data, batches, schedule and metrics.

It takes the options of the fine-tuning scripts and gives what they write into metrics.json. The model, its gradients,
the optimiser and the forward at evaluation are PyTorch's; data files, batches and metrics are read and computed by the
same code as in ours. Without MXNet.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertpass.errors import ModelError, UsageError
from bertpass.extras import require
from bertpass.jobs.tasks.kinds import KINDS, score
from bertpass.jobs.tasks.predict import Dataset, answers, collect, encode_questions, score_answers
from bertpass.jobs.training import classify, squad
from bertpass.jobs.training.options import FinetuneOptions
from bertpass.model.checkpoint import load_checkpoint
from bertpass.model.config import CLASSIFIERS
from bertpass.text.tokens.batching import Batch, batches
from bertpass.text.tokens.tokenizer import Tokenizer

#: transformers' class for each kind of head
CLASSES = {**dict.fromkeys(CLASSIFIERS, "AutoModelForSequenceClassification"),
           "tokens": "AutoModelForTokenClassification", "qa": "AutoModelForQuestionAnswering"}
OPTIMIZERS = ("bertadam", "adam", "adamw")
_NO_DECAY = ("bias", "LayerNorm.weight", "layer_norm.weight")


@dataclass
class Job:
    """One control: what it trains on and how an epoch is judged (metrics, and the value that chooses the best)."""

    options: FinetuneOptions
    kind: str
    train: Dataset
    tokenizer: Tokenizer
    evaluate: Callable[[Callable[[Batch], list[np.ndarray]]], tuple[dict[str, float], float]]


def bert_adam(torch: Any, groups: list[dict[str, Any]], epsilon: float) -> Any:
    """Adam without bias correction, weight decay beside the gradient: the optimiser of Devlin et al. 2018.

    Source: optimization.py of https://github.com/google-research/bert, "AdamWeightDecayOptimizer".
    """
    class BertAdam(torch.optim.Optimizer):  # type: ignore[misc]
        def step(self, closure: None = None) -> None:
            for group in self.param_groups:
                for parameter in group["params"]:
                    gradient, state = parameter.grad, self.state[parameter]
                    if gradient is None:
                        continue
                    if not state:
                        state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                    state["mean"].mul_(0.9).add_(gradient, alpha=0.1)
                    state["square"].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
                    update = state["mean"] / (state["square"].sqrt() + epsilon)
                    update.add_(parameter, alpha=group["weight_decay"])
                    parameter.add_(update, alpha=-group["lr"])

    BertAdam.step = torch.no_grad()(BertAdam.step)  # type: ignore[method-assign]
    return BertAdam(groups, {"lr": 0.0})


def schedule(step: int, total: int, warmup: int) -> float:
    """Share of the peak rate: up over ``warmup`` steps, then down to 0 at ``total``."""
    return (step + 1) / warmup if step < warmup else max(total - step, 0) / max(total - warmup, 1)


class Control:
    """A transformers model in training."""

    def __init__(self, job: Job) -> None:
        self.job, options = job, job.options
        self.torch = torch = require("torch", "reference")
        transformers = require("transformers", "reference")
        if options.accumulate > 1 or options.optimizer not in OPTIMIZERS or options.gpu is not None:
            raise UsageError("the control knows neither --accumulate, --gpu nor other optimisers than "
                             f"{', '.join(OPTIMIZERS)}.")
        torch.manual_seed(options.seed)
        self.net = getattr(transformers, CLASSES[job.kind]).from_pretrained(options.bert_model)
        self.takes_types = self.net.config.model_type == "bert"
        named = list(self.net.named_parameters())
        plain = [p for n, p in named if not n.endswith(_NO_DECAY)]
        groups = [{"params": plain, "weight_decay": options.decay},
                  {"params": [p for n, p in named if n.endswith(_NO_DECAY)], "weight_decay": 0.0}]
        if options.optimizer == "bertadam":
            self.optimizer = bert_adam(torch, groups, options.epsilon)
        else:
            kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
            self.optimizer = kind(groups, lr=options.lr, eps=options.epsilon)
        self.seconds, self.rows = 0.0, 0

    def inputs(self, batch: Batch) -> dict[str, Any]:
        torch = self.torch
        mask = np.arange(batch.input_ids.shape[1])[None] < batch.valid_length[:, None]
        found = {"input_ids": torch.from_numpy(batch.input_ids).long(), "attention_mask": torch.from_numpy(mask).long()}
        if self.takes_types:
            found["token_type_ids"] = torch.from_numpy(batch.token_types).long()
        return found

    def loss(self, batch: Batch) -> Any:
        labels = self.torch.from_numpy(np.asarray(batch.labels))
        out, functional = self.net(**self.inputs(batch)), self.torch.nn.functional
        if self.job.kind == "qa":  # padding takes no probability, as in ours; transformers' own loss leaves it in
            padding = self.inputs(batch)["attention_mask"] == 0
            start, end = (x.masked_fill(padding, -1e9) for x in (out.start_logits, out.end_logits))
            return 0.5 * (functional.cross_entropy(start, labels[:, 0].long())
                          + functional.cross_entropy(end, labels[:, 1].long()))
        logits = out.logits
        if self.job.kind == "regression":
            return 0.5 * functional.mse_loss(logits, labels.float().reshape(logits.shape))
        if self.job.kind in ("multilabel", "ranking"):
            return functional.binary_cross_entropy_with_logits(logits, labels.float().reshape(logits.shape))
        if self.job.kind == "tokens":
            labels, logits = labels[:, :logits.shape[1]].reshape(-1), logits.reshape(-1, logits.shape[-1])
        return functional.cross_entropy(logits, labels.long(), ignore_index=-1)

    def forward(self, batch: Batch) -> list[np.ndarray]:
        with self.torch.inference_mode():
            out = self.net(**self.inputs(batch))
        if self.job.kind == "qa":
            return [self.torch.stack([out.start_logits, out.end_logits], dim=-1).numpy()]
        return [out.logits.numpy()]

    def step(self, batch: Batch, rate: float) -> float:
        """One update; returns the loss."""
        began = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = self.loss(batch)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        value = loss.item()
        self.seconds += time.monotonic() - began
        self.rows += len(batch)
        return value

    def fit(self, epoch_batches: Callable[[int], Iterable[Batch]], per_epoch: int) -> dict[str, Any]:
        """Train to the end of the options' epochs or steps; what metrics.json says of ours."""
        options = self.job.options
        total = options.training_steps or per_epoch * options.epochs
        history: list[dict[str, Any]] = []
        best: tuple[float, dict[str, Any]] = (-math.inf, {})
        done = 0
        for epoch in range(math.ceil(total / per_epoch)):
            self.net.train()
            self.torch.manual_seed(options.seed + 1000 * epoch)
            for batch in epoch_batches(epoch):
                if done >= total:
                    break
                value = self.step(batch, options.lr * schedule(done, total, int(total * options.warmup_ratio)))
                if not math.isfinite(value):
                    raise ModelError(f"the control's loss is {value} at step {done + 1}; try a lower --lr.")
                done += 1
                if done % 50 == 0:
                    print(f"step {done}/{total}  loss {value:.4f}  {self.rows / self.seconds:.1f} samples/s",
                          file=sys.stderr, flush=True)
            self.net.eval()
            metrics, value = self.job.evaluate(self.forward)
            history.append({"epoch": epoch + 1, **metrics})
            if value > best[0] or not best[1]:
                best = (value, history[-1])
        return {"metrics": {k: v for k, v in best[1].items() if k != "epoch"}, "epoch": best[1]["epoch"],
                "history": history, "steps": done, "samples_per_second": round(self.rows / self.seconds, 2)}


def classifier_job(options: classify.ClassifierOptions) -> Job:
    """The control of finetune_classifier.py."""
    splits = classify.read_splits(options)
    tokenizer = _tokenizer(options)
    task = splits.task
    kind = KINDS[task.kind]
    dev = {name: kind.encode(task, rows, tokenizer, options.max_len) for name, rows in splits.dev.items()}

    def evaluate(forward: Callable[[Batch], list[np.ndarray]]) -> tuple[dict[str, float], float]:
        name, data = next(iter(dev.items()))
        outputs = collect(forward, data, options.dev_batch_size, tokenizer.pad_id, f"evaluating {name}")
        found = score(task, {name: (outputs, data)})
        return found, found[task.main_metric]

    return Job(options, task.kind, kind.encode(task, splits.train, tokenizer, options.max_len), tokenizer, evaluate)


def squad_job(options: squad.SquadOptions) -> Job:
    """The control of finetune_squad.py."""
    train, dev = squad.read_data(options)
    if train is None:
        raise UsageError("the control trains: leave --only_predict out.")
    tokenizer, answering = _tokenizer(options), options.answering()
    encoded = encode_questions(dev, tokenizer, answering)

    def evaluate(forward: Callable[[Batch], list[np.ndarray]]) -> tuple[dict[str, float], float]:
        outputs = collect(forward, encoded, options.test_batch_size, tokenizer.pad_id, "answering")
        found = score_answers(dev, answers(dev, encoded, outputs, answering))
        return found, found["f1"]

    return Job(options, "qa", encode_questions(train, tokenizer, answering), tokenizer, evaluate)


def _tokenizer(options: FinetuneOptions) -> Tokenizer:
    found = load_checkpoint(options.bert_model).tokenizer
    if found is None:
        raise ModelError(f"{options.bert_model} has no vocabulary; give a Hugging Face folder with one.")
    return found


def run(job: Job) -> dict[str, Any]:
    """Train one control on the batches that ours takes; returns what its result file holds."""
    options, data = job.options, job.train

    def epoch_batches(epoch: int) -> Iterable[Batch]:
        return batches(data.encodings, options.batch_size, pad_id=job.tokenizer.pad_id, labels=data.labels,
                       shuffle=True, seed=options.seed, epoch=epoch, round_to=options.round_to)

    return Control(job).fit(epoch_batches, -(-len(data) // options.batch_size))
