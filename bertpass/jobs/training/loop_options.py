"""Options that every fine-tuning job has: model, data, the training loop, output."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from bertpass.errors import ModelError, UsageError
from bertpass.model.files.folders import read_object
from bertpass.options import check_output_folder, check_paths, flag, gpu_flag

CHECKPOINT, STATE = "checkpoint", "state.json"  # the folder in OUTPUT_DIR, and its file that tells about it
FREE_ON_RESUME = ("resume", "gpu", "output_dir", "log_interval", "allow_pickle", "test_file", "no_test",
                  "dev_batch_size", "test_batch_size", "early_stop", "only_inference", "only_predict",
                  "comm_backend", "worker_timeout", "only_calibration", "int8_engine", "quantized_dtype", "calib_mode",
                  "num_calib_batches", "max_metric_drop", "deploy", "model_prefix", "sentencepiece", "custom_pass",
                  "passes", "debug", "trainer")
OPTIMIZERS = ("bertadam", "adam", "adamw", "lamb", "sgd")


@dataclass
class LoopOptions:
    """Flags of every fine-tuning job; those of the loop are of :class:`bertpass.jobs.training.trainer.Trainer`."""

    allow_pickle: bool = flag(False, "read pytorch_model.bin files; a pickle can run code, so only from a source that "
                              "you trust", group="model", rare=True)
    data_dir: str | None = flag(None, "folder with data in GLUE or SQuAD layout (files plain or .gz)", group="data")
    train_file: str | None = flag(None, "your own training data", group="data")
    dev_file: str | None = flag(None, "your own development data", group="data")
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
    log_interval: int = flag(50, "steps between two lines of the log", group="output", least=1, rare=True)
    output_dir: str = flag("./output_dir", "folder for net.params, the bundle, the log and checkpoints", group="output")
    resume: bool = flag(False, "continue from the last checkpoint in --output_dir", group="output")
    gpu: int | None = gpu_flag()

    @property
    def decay(self) -> float:
        """The decay of the weights, --weight_decay or the optimiser's default."""
        if self.weight_decay is not None:
            return self.weight_decay
        return 0.0 if self.optimizer == "adam" else 0.01

    def check_loop(self) -> None:
        """UsageError, before any long work, where data are not there, or the output or a checkpoint does not fit."""
        check_paths(self, "train_file", "dev_file", "data_dir")
        check_output_folder("output_dir", self.output_dir)
        if self.resume:
            self._check_resume()

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
