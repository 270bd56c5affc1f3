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
    engine: str = flag("native", "what computes int8: native, our encoder (the pass native_encoder), or mxnet, the "
                       "quantised oneDNN operators of MXNet 1.9.1", group=_GROUP, rare=True, choices=ENGINES)
    quantized_dtype: str = flag("auto", "bytes of the activations with --engine mxnet: auto takes uint8 where no value "
                                "is negative; native always has uint8 with a zero point", group=_GROUP, rare=True,
                                choices=quantize.DTYPES)
    calib_mode: str = flag("customize", "how ranges are calibrated. With --engine mxnet: the ranges of the "
                           "activations, as "
                           "published. With native: how weights are rounded; none rounds without calibration",
                           group=_GROUP, rare=True, choices=quantize.MODES)
    num_calib_batches: int = flag(5, "calibration batches of 32 rows", group=_GROUP, rare=True, least=1)
    max_metric_drop: float | None = flag(None, "largest drop of the task's main metric from float32 on the dev set, as "
                                         "a share (0.005: half a point of a percentage); parts of the model are kept "
                                         "in higher precision until it holds, else nothing is written", group=_GROUP,
                                         rare=True,
                                         least=0, most=1)

    @property
    def lowering(self) -> Lowering:
        """What the flags choose."""
        return Lowering(self.engine, self.quantized_dtype, self.calib_mode, self.num_calib_batches,
                        self.max_metric_drop)

    def check_low_precision(self, dtype: str) -> None:
        """UsageError where these flags do not go with each other or with the precision of the command."""
        if self.engine == "mxnet" and dtype == "bfloat16":
            raise UsageError("--engine mxnet --dtype bfloat16: MXNet's automatic mixed precision has no bfloat16 for "
                             "the attention of these models; --engine native computes it.")
        if self.engine == "mxnet" and dtype != "int8":
            raise UsageError(f"--engine mxnet: chooses what computes int8, and the precision is {dtype}; give --dtype "
                             "int8 or leave --engine out.")
        if self.engine == "mxnet" and self.calib_mode == "none":
            raise UsageError("--calib_mode none: MXNet's oneDNN operators need calibrated ranges; give naive, entropy, "
                             "percentile or customize, or --engine native, which needs no calibration.")
        if self.engine == "mxnet" and self.quantized_dtype == "uint8":
            raise UsageError("--quantized_dtype uint8: activations have negative values, which it cannot hold; give "
                             "auto, which takes uint8 where there are none, or int8.")
        if self.max_metric_drop is not None and dtype == "float32":
            raise UsageError("--max_metric_drop compares low precision with float32: give --dtype int8 or bfloat16, or "
                             "--only_calibration.")


@dataclass
class TableOptions:
    """Flags of bertpass bench precision."""

    task: str | None = flag(None, "the model's task; default: the one that its bundle names")
    model_parameters: str | None = flag(None, "fine-tuned weights: net.params, a bundle or a Hugging Face folder")
    data_dir: str | None = flag(None, "folder with the data in GLUE or SQuAD layout")
    vocab: str | None = flag(None, "vocabulary for a .params file that has none beside it")
    num_heads: int | None = flag(None, "attention heads, for a .params file whose head size is not 64", least=1)
    seq_length: int = flag(128, "tokens to which texts are cut", least=4, most=8192)
    max_rows: int | None = flag(None, "stop after this many sentences, pairs or questions", least=1)
    num_calib_batches: int = flag(5, "calibration batches of 32 rows", least=1)
    modes: list[str] = flag(["naive", "percentile", "customize"], "calibration modes of MXNet's int8; none: without it")
    output: str | None = flag(None, "write the figures to this JSON file")
