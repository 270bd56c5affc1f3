"""Which precision a deployment computes in, on the device that it is for."""

from __future__ import annotations

from collections.abc import Sequence

from bertpass import _native
from bertpass.errors import DeviceError
from bertpass.jobs.deployment.options import DeployOptions
from bertpass.passes.select import NATIVE_ENCODER
from bertpass.progress import log


def encoder_dtype(options: DeployOptions, passes: Sequence[str]) -> str:
    """What the pass native_encoder is to compute in for ``--dtype`` on a CPU.

    float16 becomes bfloat16 where the processor multiplies in it, else float32, and a line of the log says so.

    Raises
    ------
    DeviceError
        Lower precision is asked for and nothing here computes in it: the pass, or for float16 the library, is missing.
    """
    dtype = options.lowest
    if dtype == "float32" or options.only_infer:
        return "float32"
    if options.engine == "mxnet":
        return dtype
    if dtype == "float16" and options.custom_pass is None:
        raise DeviceError("float16: MXNet computes float16 on a GPU only; give --gpu ID, or --custom_pass "
                          "bertpass_lib.so, whose encoder computes it in bfloat16 or float32, or --dtype float32 on "
                          "this CPU.")
    if NATIVE_ENCODER not in passes:
        raise DeviceError(f"--dtype {dtype}: on a CPU only the pass {NATIVE_ENCODER} computes in it; add it to "
                          "--passes, or give --gpu ID or --dtype float32.")
    if dtype != "float16":
        return options.plan
    instructions = _native.selected()
    computed = "bfloat16" if "bf16" in instructions or "amx" in instructions else "float32"
    log.info("--dtype float16: the encoder is computed in %s, the fastest that this CPU has for it (%s).", computed,
             instructions)
    return computed
