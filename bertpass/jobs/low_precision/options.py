"""Flags of low precision, the same in deploy.py and both fine-tuning scripts, where they were first published."""

from __future__ import annotations

from dataclasses import dataclass

from bertpass.errors import UsageError
from bertpass.options import flag
from bertpass.passes import quantize

ENGINES = ("native", "mxnet")
_GROUP = "low precision"


@dataclass(frozen=True)
class Lowering:
    """How a model is brought to low precision; the fields are the flags of :class:`LowPrecisionOptions`."""

    engine: str
    quantized_dtype: str
    calib_mode: str
    num_calib_batches: int
    max_metric_drop: float | None


@dataclass
class LowPrecisionOptions:
    """See :mod:`bertpass.jobs.low_precision.lower`."""

    only_calibration: bool = flag(False, "write the model in int8 and stop", group=_GROUP, rare=True)
    int8_engine: str = flag("native", "engine that computes int8: native, our encoder (the pass native_encoder), or "
                            "mxnet, the quantised oneDNN operators of MXNet 1.9.1", group=_GROUP, rare=True,
                            choices=ENGINES, formerly=("--engine",))
    quantized_dtype: str = flag("auto", "type of the activations with --int8_engine mxnet; auto is uint8 where no "
                                "value is negative. native always has uint8 with a zero point", group=_GROUP, rare=True,
                                choices=quantize.DTYPES)
    calib_mode: str = flag("customize", "way of calibrating: with --int8_engine mxnet of the activations' ranges, as "
                           "published; with native of the rounding of weights, where none leaves it out", group=_GROUP,
                           rare=True, choices=quantize.MODES)
    num_calib_batches: int = flag(5, "calibration batches of 32 rows", group=_GROUP, rare=True, least=1)
    max_metric_drop: float | None = flag(None, "largest drop of the task's main metric from float32 on the dev set, as "
                                         "a share (0.005: half a percentage point). Parts of the model stay in higher "
                                         "precision until it holds; otherwise nothing is written", group=_GROUP,
                                         rare=True, least=0, most=1)

    @property
    def lowering(self) -> Lowering:
        """What the flags choose."""
        return Lowering(self.int8_engine, self.quantized_dtype, self.calib_mode, self.num_calib_batches,
                        self.max_metric_drop)

    def check_low_precision(self, dtype: str) -> None:
        """UsageError where these flags do not go with each other or with the precision of the command."""
        if self.int8_engine == "mxnet" and dtype == "bfloat16":
            raise UsageError("--int8_engine mxnet --dtype bfloat16: MXNet's automatic mixed precision has no bfloat16 "
                             "for the attention of these models; --int8_engine native computes it.")
        if self.int8_engine == "mxnet" and dtype != "int8":
            raise UsageError(f"--int8_engine mxnet computes only int8, and the precision is {dtype}; give --dtype int8 "
                             "or leave --int8_engine out.")
        if self.int8_engine == "mxnet" and self.calib_mode == "none":
            raise UsageError("--calib_mode none: MXNet's oneDNN operators need calibrated ranges; give naive, entropy, "
                             "percentile or customize, or --int8_engine native, which needs no calibration.")
        if self.int8_engine == "mxnet" and self.quantized_dtype == "uint8":
            raise UsageError("--quantized_dtype uint8: activations have negative values, which it cannot hold; give "
                             "auto, which takes uint8 where there are none, or int8.")
        if self.max_metric_drop is not None and dtype == "float32":
            raise UsageError("--max_metric_drop compares low precision with float32: give --dtype int8 or bfloat16, or "
                             "--only_calibration.")


@dataclass
class TableOptions:
    """Flags of bertpass bench precision."""

    model: str = flag("", "fine-tuned model: net.params, a bundle or a Hugging Face folder", positional=True,
                      formerly=("--model_parameters",))
    task: str | None = flag(None, "the model's task (default: the one that its bundle names)")
    data_dir: str | None = flag(None, "folder with data in GLUE or SQuAD layout (files plain or .gz)")
    vocab: str | None = flag(None, "vocabulary file (.vocab, vocab.txt or tokenizer.json) for a .params file without "
                             "one next to it", rare=True)
    num_heads: int | None = flag(None, "attention heads of a .params file that is not 768 or 1024 wide, or whose heads "
                                 "are not of size 64", least=1, rare=True)
    max_length: int = flag(128, "length in tokens to which texts are cut", least=4, most=8192,
                           formerly=("--seq_length",))
    max_rows: int | None = flag(None, "largest number of sentences, pairs or questions", least=1)
    num_calib_batches: int = flag(5, "calibration batches of 32 rows", least=1)
    modes: list[str] = flag(["naive", "percentile", "customize"], "calibration modes of MXNet's int8; none leaves "
                            "MXNet's int8 out")
    output: str | None = flag(None, "write the figures to this JSON file")
