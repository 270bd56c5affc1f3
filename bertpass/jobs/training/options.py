"""Options that both fine-tuning command lines share, and their checks before any long work."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from bertpass.errors import ModelError, PassError, UsageError
from bertpass.jobs.low_precision.options import LowPrecisionOptions
from bertpass.jobs.tasks.exported import find_pair
from bertpass.model.files.folders import read_object
from bertpass.options import check_output_folder, check_paths, flag, gpu_flag
from bertpass.passes.select import select, taking

CHECKPOINT, STATE = "checkpoint", "state.json"  # the folder in OUTPUT_DIR, and its file that tells about it
FREE_ON_RESUME = ("resume", "gpu", "output_dir", "log_interval", "allow_pickle", "test_file", "no_test",
                  "dev_batch_size", "test_batch_size", "early_stop", "only_inference", "only_predict",
                  "comm_backend", "worker_timeout", "only_calibration", "int8_engine", "quantized_dtype", "calib_mode",
                  "num_calib_batches", "max_metric_drop", "deploy", "model_prefix", "sentencepiece", "custom_pass",
                  "passes", "debug", "trainer")
OPTIMIZERS = ("bertadam", "adam", "adamw", "lamb", "sgd")
TRAINERS = ("auto", "mxnet", "torch")
COMM_BACKENDS = ("dist_sync", "horovod")


@dataclass
class FinetuneOptions(LowPrecisionOptions):
    """Flags of finetune_classifier.py and finetune_squad.py that mean the same in both."""

    bert_model: str = flag("bert_12_768_12", "model to start from: bert_12_768_12, bert_24_1024_16, distilbert, "
                           "roberta_12_768_12, roberta_24_1024_16, minilm, a folder or a .params file", group="model")
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
    allow_pickle: bool = flag(False, "read pytorch_model.bin files; a pickle can run code, so only from a source that "
                              "you trust", group="model", rare=True)
    data_dir: str | None = flag(None, "folder with data in GLUE or SQuAD layout (files plain or .gz)", group="data")
    train_file: str | None = flag(None, "your own training data", group="data")
    dev_file: str | None = flag(None, "your own development data", group="data")
    trainer: str = flag("auto", "what computes gradients and updates: mxnet, or torch (PyTorch, the extra torch); auto "
                        "is mxnet for the families that its network computes, torch for others", group="training",
                        choices=TRAINERS)
    epochs: int = flag(3, "passes over the training data", group="training", least=1, aliases=("--epoch",))
    training_steps: int | None = flag(None, "number of steps, in place of --epochs", group="training", least=1)
    batch_size: int = flag(32, "sequences per batch", group="training", least=1)
    accumulate: int = flag(1, "batches per update: their gradients are added up, so an update is that of a batch that "
                           "many times as large", group="training", least=1)
    optimizer: str = flag("bertadam", "optimiser; adamw is PyTorch's, bertadam is adamw without bias correction",
                          group="training", choices=OPTIMIZERS, rare=True)
    lr: float = flag(5e-5, "peak learning rate", group="training", least=0)
    epsilon: float = flag(1e-6, "epsilon of the optimiser", group="training", least=0, rare=True)
    weight_decay: float | None = flag(None, "decay of the weights, none on biases and LayerNorm (default: 0.01; 0 for "
                                      "adam, whose decay is part of the gradient)", group="training", least=0,
                                      rare=True)
    warmup_ratio: float = flag(0.1, "share of the steps in which the learning rate rises", group="training", least=0,
                               most=1, aliases=("--warmup",), rare=True)
    evaluate_every: int | None = flag(None, "steps between two evaluations, each with a checkpoint (default: one "
                                      "epoch); net.params gets the best weights", group="training", least=1, rare=True)
    early_stop: int | None = flag(None, "stop after this many evaluations without a better metric", group="training",
                                  least=1)
    round_to: int = flag(8, "round the length of a batch up to a multiple of this", group="training", least=1,
                         rare=True)
    seed: int = flag(2, "seed of shuffling, dropout and new weights", group="training", least=0, rare=True)
    dtype: str = flag("float32", "precision; float16 is mixed precision (AMP) and needs a GPU", group="training",
                      choices=("float32", "float16"))
    log_interval: int = flag(50, "steps between two lines of the log", group="output", least=1, rare=True)
    output_dir: str = flag("./output_dir", "folder for net.params, the bundle, the log and checkpoints", group="output")
    resume: bool = flag(False, "continue from the last checkpoint in --output_dir", group="output")
    deploy: bool = flag(False, "evaluate the exported model --model_prefix, as published", group="model", rare=True)
    model_prefix: str | None = flag(None, "prefix of the -symbol.json and -0000.params files for --deploy",
                                    group="model", rare=True)
    sentencepiece: str | None = flag(None, "published flag that is refused: SentencePiece vocabularies are not "
                                     "supported here", group="model", rare=True)
    custom_pass: str | None = flag(None, "library of graph passes for --only_calibration, usually bertpass_lib.so",
                                   group="low precision", aliases=("--custom_pass_lib",), rare=True)
    passes: list[str] = flag([], "passes for --only_calibration, applied after the one that computes int8",
                             group="low precision", aliases=("--custom_passes",), rare=True)
    gpu: int | None = gpu_flag()
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
    def decay(self) -> float:
        """The decay of the weights, --weight_decay or the optimiser's default."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.0 if self.optimizer == "adam" else 0.01

    @property
    def backend(self) -> str | None:
        """What joins the processes that train together, None where there is one."""
        return self.comm_backend or ("dist_sync" if self.workers > 1 else None)

    def check(self) -> None:
        """Checks that need no data: files are there, values fit together."""
        check_paths(self, "pretrained_bert_parameters", "model_parameters", "vocab", "train_file", "dev_file",
                    "data_dir")
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
        check_output_folder("output_dir", self.output_dir)
        if self.resume:
            self._check_resume()

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

    def _check_resume(self) -> None:
        """Refuse to go on from a checkpoint that was made with other options."""
        file = Path(self.output_dir) / CHECKPOINT / STATE
        if not file.is_file():
            return
        then = read_object(file, "the state of a checkpoint").get("options")
        if not isinstance(then, dict):
            raise ModelError(f"{file} does not say the options of its checkpoint: remove {file.parent} to start again.")
        for name, value in self.fingerprint().items():
            if then.get(name, value) != value:  # a flag that is newer than the checkpoint is not compared
                raise UsageError(f"--resume: the checkpoint was made with --{name} {then.get(name)}, not {value}; use "
                                 "the same options or another --output_dir.")

    def fingerprint(self) -> dict[str, object]:
        """What must be equal for a checkpoint to be resumed: all that changes the weights or which epoch is best."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in FREE_ON_RESUME}
