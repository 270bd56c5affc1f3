"""Options that both fine-tuning command lines share, and their checks before any long work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bertpass.errors import PassError, UsageError
from bertpass.jobs.low_precision.options import LowPrecisionOptions
from bertpass.jobs.tasks.exported import find_pair
from bertpass.jobs.training.loop_options import LoopOptions
from bertpass.options import check_paths, flag
from bertpass.passes.select import select, taking

TRAINERS = ("auto", "mxnet", "torch")
COMM_BACKENDS = ("dist_sync", "horovod")


@dataclass
class StartOptions:
    """The flag that help begins with."""

    bert_model: str = flag("bert_12_768_12", "model to start from: bert_12_768_12, bert_24_1024_16, distilbert, "
                           "roberta_12_768_12, roberta_24_1024_16, minilm, a folder or a .params file", group="model")


@dataclass
class FinetuneOptions(LoopOptions, StartOptions, LowPrecisionOptions):
    """Flags of finetune_classifier.py and finetune_squad.py that mean the same in both."""

    bert_dataset: str = flag("book_corpus_wiki_en_uncased", "data set of the pretrained weights; it decides the "
                             "vocabulary", group="model", aliases=("--dataset_name",), rare=True)
    pretrained_bert_parameters: str | None = flag(None, "pretrained encoder weights (.params), in place of a download",
                                                  group="model", rare=True)
    model_parameters: str | None = flag(None, "fine-tuned weights (.params or bundle), to train further or to evaluate",
                                        group="model")
    vocab: str | None = flag(None, "vocabulary file (.vocab, vocab.txt or tokenizer.json) for a .params file without "
                             "one next to it", group="model", rare=True)
    num_heads: int | None = flag(None, "attention heads of a .params file that is not 768 or 1024 wide, or whose heads "
                                 "are not of size 64", group="model", least=1, rare=True)
    uncased: bool = flag(False, "turn texts to lower case, whatever the vocabulary says", group="model", rare=True)
    cased: bool = flag(False, "keep the case of texts, whatever the vocabulary says", group="model", rare=True)
    trainer: str = flag("auto", "what computes gradients and updates: mxnet, or torch (PyTorch, the extra torch); auto "
                        "is mxnet for the families that its network computes, torch for others", group="training",
                        choices=TRAINERS)
    dtype: str = flag("float32", "precision; float16 is mixed precision (AMP) and needs a GPU", group="training",
                      choices=("float32", "float16"))
    deploy: bool = flag(False, "evaluate the exported model --model_prefix, as published", group="model", rare=True)
    model_prefix: str | None = flag(None, "prefix of the -symbol.json and -0000.params files for --deploy",
                                    group="model", rare=True)
    sentencepiece: str | None = flag(None, "published flag that is refused: SentencePiece vocabularies are not "
                                     "supported here", group="model", rare=True)
    custom_pass: str | None = flag(None, "library of graph passes for --only_calibration, usually bertpass_lib.so",
                                   group="low precision", aliases=("--custom_pass_lib",), rare=True)
    passes: list[str] = flag([], "passes for --only_calibration, applied after the one that computes int8",
                             group="low precision", aliases=("--custom_passes",), rare=True)
    gpus: list[int] = flag([], "numbers of several GPUs of this machine; each trains with a part of every batch",
                           group="device", rare=True)
    workers: int = flag(1, "processes on this machine that train together; each takes a part of every batch",
                        group="device", least=1)
    comm_backend: str | None = flag(None, "train with processes that tools/launch.py of MXNet (dist_sync) or "
                                    "horovodrun has started", group="device", choices=COMM_BACKENDS, rare=True)
    worker_timeout: float = flag(1800, "seconds to wait for another worker, also while the first one evaluates",
                                 group="device", least=1, rare=True)

    @property
    def devices(self) -> list[int | None]:
        """The GPUs to train on; None is the CPU."""
        return list(self.gpus) or [self.gpu]

    @property
    def named_model(self) -> str:
        """The model that the flags name, for result files."""
        return self.model_prefix or self.model_parameters or self.bert_model

    @property
    def trains(self) -> bool:
        """Whether the job changes weights."""
        return not self.only_calibration

    @property
    def backend(self) -> str | None:
        """What joins the processes that train together, None where there is one."""
        return self.comm_backend or ("dist_sync" if self.workers > 1 else None)

    def check(self) -> None:
        """Checks that need no data: files are there, values fit together."""
        check_paths(self, "pretrained_bert_parameters", "model_parameters", "vocab")
        if self.cased and self.uncased:
            raise UsageError("--cased and --uncased contradict each other: give one of them.")
        if self.gpus and self.gpu is not None:
            raise UsageError("--gpu and --gpus contradict each other: give one of them.")
        if len(set(self.gpus)) < len(self.gpus) or min(self.gpus, default=0) < 0:
            raise UsageError(f"--gpus {' '.join(map(str, self.gpus))}: give each GPU's number once.")
        if self.comm_backend == "horovod" and (self.workers > 1 or len(self.gpus) > 1):
            raise UsageError("--comm_backend horovod: horovodrun starts all processes, one per device; leave "
                             "--workers and --gpus out.")
        self._check_published()
        if self.only_calibration and self.gpu is not None:
            raise UsageError("--only_calibration writes int8 for a CPU: leave --gpu out.")
        if not self.only_calibration and (self.int8_engine != "native" or self.max_metric_drop is not None):
            raise UsageError("--int8_engine and --max_metric_drop are about the model in int8: give --only_calibration "
                             "with them.")
        self.check_low_precision("int8" if self.only_calibration else "float32")
        self.check_loop()

    def _check_published(self) -> None:
        """Flags of the published scripts that go with few others."""
        if self.sentencepiece:
            raise UsageError("--sentencepiece: models with a SentencePiece vocabulary are not supported; take one with "
                             "WordPiece (BERT) or byte-level BPE (RoBERTa), and name its vocabulary with --vocab.")
        if self.deploy != (self.model_prefix is not None):
            raise UsageError("--deploy and --model_prefix PREFIX go together: they evaluate an exported model.")
        if self.model_prefix is not None and not self.trains:
            find_pair(Path(self.model_prefix))
        if (self.custom_pass or self.passes) and not self.only_calibration:
            raise UsageError("--custom_passes and --custom_pass_lib are for the model that --only_calibration writes: "
                             "give it, or give the passes to deploy.py.")
        if self.passes and self.int8_engine == "mxnet":
            raise UsageError("--custom_passes: --int8_engine mxnet has its own passes; leave one of the two flags out.")
        if self.custom_pass is not None and not Path(self.custom_pass).is_file():
            raise PassError(f"--custom_pass_lib {self.custom_pass}: no such file; build it with "
                            "python setup.py build_ext --inplace.")
        select(self.pass_names())

    def pass_names(self) -> str | list[str]:
        """Passes of the model that --only_calibration writes: "auto", or the one for int8 and those that are named."""
        names = [name for part in self.passes for name in part.split(",") if name]
        first = taking("dtype")
        return [*first, *(name for name in names if name not in first)] if names else "auto"
