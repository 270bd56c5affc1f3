"""Flags of deploy.py and their checks before any long work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bertpass.errors import PassError, UsageError
from bertpass.jobs.low_precision.options import LowPrecisionOptions
from bertpass.jobs.tasks.own_columns import OwnColumnOptions
from bertpass.options import check_output_folder, check_paths, flag, gpu_flag
from bertpass.text.data.tasks import TASKS


@dataclass
class DeployOptions(OwnColumnOptions, LowPrecisionOptions):
    """The published script's flags mean what they meant there; the others are ours."""

    model_parameters: str | None = flag(None, "fine-tuned weights: net.params, a bundle or a Hugging Face folder; "
                                        "without this flag the weights are random, with a warning", group="model")
    bert_model: str | None = flag(None, "bert_12_768_12, bert_24_1024_16, distilbert, roberta_12_768_12, "
                                  "roberta_24_1024_16, minilm or a folder; needed where the weights do not say it",
                                  group="model")
    dataset_name: str = flag("book_corpus_wiki_en_uncased", "data set of the pretrained weights; it decides the "
                             "vocabulary", group="model", aliases=("--bert_dataset",), rare=True)
    vocab: str | None = flag(None, "vocabulary file (.vocab, vocab.txt or tokenizer.json) for a .params file without "
                             "one next to it", group="model", rare=True)
    num_heads: int | None = flag(None, "attention heads of a .params file that is not 768 or 1024 wide, or whose heads "
                                 "are not of size 64", group="model", least=1, rare=True)
    allow_pickle: bool = flag(False, "read pytorch_model.bin files; a pickle can run code, so only from a source that "
                              "you trust", group="model", rare=True)
    dropout: float = flag(0.1, "published flag without effect: an exported graph for inference has no dropout",
                          group="model", least=0, most=0.9, rare=True)
    task: str | None = flag(None, f"{', '.join(TASKS)}; default: the model's own", group="data")
    data_dir: str | None = flag(None, "folder with data in GLUE or SQuAD layout (files plain or .gz)", group="data")
    split: str = flag("dev", "split of the data to run", group="data", choices=("train", "dev", "test"), rare=True)
    eval_file: str | None = flag(None, "your own file, in place of --data_dir (.tsv, .csv, .jsonl; SQuAD .json for QA)",
                                 group="data", aliases=("--dev_file",))
    test_batch_size: int = flag(128, "rows per batch", group="data", least=1)
    seq_length: int = flag(128, "tokens per row: shorter texts are padded to it, longer ones are cut", group="data",
                           least=4, most=8192)
    max_iters: int | None = flag(None, "largest number of batches to run", group="data", least=1, rare=True)
    QA_version_2: bool = flag(False, "SQuAD 2.0: questions may have no answer", group="question answering")
    QA_n_best_size: int = flag(20, "answers kept per question", group="question answering", least=1, rare=True)
    QA_max_answer_length: int = flag(30, "longest answer in tokens", group="question answering", least=1, rare=True)
    QA_doc_stride: int = flag(128, "tokens between the starts of two windows", group="question answering", least=1,
                              rare=True)
    QA_max_query_length: int = flag(64, "longest question in tokens", group="question answering", least=1, rare=True)
    QA_null_score_diff_threshold: float = flag(0.0, "lead that the score of 'no answer' needs for a question to get "
                                               "none", group="question answering", rare=True)
    oov_way: str = flag("avg", "published flag without effect: the embedding task gives one pooled vector per text",
                        group="data", choices=("avg", "sum", "last"), rare=True)
    dtype: str = flag("float32", "precision of the inference. On a CPU only the encoder is below float32; float16 "
                      "there becomes bfloat16 or float32 and needs --custom_pass", group="inference",
                      choices=("float32", "float16", "bfloat16", "int8"))
    keep: list[str] = flag([], "layers, or products of layers, in another precision, as 0=bfloat16 5.down=float32 "
                           "(products: qkv, proj, up, down)", group="low precision", rare=True)
    true_fp16: bool = flag(False, "accumulate in float16 too (sets MXNET_FC_TRUE_FP16=1; GPU)", group="inference",
                           rare=True)
    custom_pass: str | None = flag(None, "library of graph passes that MXNet loads, usually bertpass_lib.so",
                                   group="inference", aliases=("--custom_pass_lib",))
    passes: list[str] = flag(["auto"], "passes to apply: auto (those that pay on the device), none, or names",
                             group="inference", aliases=("--custom_passes",))
    compare: bool = flag(False, "run the model without passes as well, interleaved, and print the ratio and the "
                         "difference", group="inference")
    gpu: int | None = gpu_flag("inference")
    output_dir: str = flag("./output_dir", "folder for the exported model, which goes to OUTPUT_DIR/TASK",
                           group="output")
    exported_model: str | None = flag(None, "prefix of the -symbol.json and -0000.params files to write, or with "
                                      "--only_infer to read", group="output", rare=True)
    only_infer: bool = flag(False, "do not export: run --exported_model", group="output", rare=True)
    check_accuracy: bool = flag(False, "write the predictions next to the exported model; with --split test under the "
                                "names that GLUE's site expects", group="output", rare=True)
    text: str | None = flag(None, "one text to classify, tag or embed; - reads lines from standard input",
                            group="single use")
    text_pair: str | None = flag(None, "second text of the pair that --text begins", group="single use")
    question: str | None = flag(None, "one question to answer from --context", group="single use")
    context: str | None = flag(None, "text that holds the answer; - reads it from standard input", group="single use")

    @property
    def single(self) -> bool:
        """Whether one text or question is asked for instead of a data set."""
        return self.text is not None or self.question is not None

    @property
    def lowest(self) -> str:
        """The precision that is asked for: --only_calibration means int8."""
        return "int8" if self.only_calibration and self.dtype == "float32" else self.dtype

    @property
    def plan(self) -> str:
        """The precision plan that the flags name."""
        return ",".join((self.lowest, *self.keep))

    def check(self) -> None:
        """Checks that need neither a model nor data: files are there, flags fit together."""
        check_paths(self, "model_parameters", "vocab", "data_dir", "eval_file")
        if self.custom_pass is not None and not Path(self.custom_pass).is_file():
            raise PassError(f"--custom_pass {self.custom_pass}: no such file; build it with "
                            "python setup.py build_ext --inplace.")
        self.check_columns(self.eval_file)
        if self.only_infer and not (self.exported_model or self.task):
            raise UsageError("--only_infer needs --exported_model PREFIX, the files PREFIX-symbol.json and "
                             "PREFIX-0000.params of an earlier run, or --task for those in --output_dir.")
        if self.only_infer and self.compare:
            raise UsageError("--compare exports the model once more, without passes: leave --only_infer out.")
        if self.question is not None and self.context is None:
            raise UsageError("--question needs --context: the text that holds the answer.")
        if self.context is not None and self.question is None:
            raise UsageError("--context needs --question.")
        if not (self.task or self.model_parameters or self.only_infer or self.eval_file or self.single):
            raise UsageError("say what to run: --model_parameters output_dir/net.params, or --task SST to measure "
                             "random weights.")
        if self.text is not None and self.question is not None:
            raise UsageError("give either --text or --question with --context, not both.")
        if self.text_pair is not None and self.text is None:
            raise UsageError("--text_pair needs --text.")
        if self.true_fp16 and self.dtype != "float16":
            raise UsageError("--true_fp16 needs --dtype float16.")
        self.check_low_precision(self.lowest)
        if self.int8_engine == "mxnet" and self.single:
            raise UsageError("--int8_engine mxnet calibrates on a data set: leave --text and --question out.")
        if self.keep and (self.lowest not in ("int8", "bfloat16") or self.int8_engine == "mxnet"):
            raise UsageError("--keep needs --dtype int8 or bfloat16 and --int8_engine native.")
        if self.max_metric_drop is not None and (self.only_infer or self.single or self.keep or self.gpu is not None):
            raise UsageError("--max_metric_drop chooses a precision at the export, on a data set and on a CPU: leave "
                             "--only_infer, --text, --question, --keep and --gpu out.")
        if self.only_calibration and (self.only_infer or self.single or self.gpu is not None):
            raise UsageError("--only_calibration writes a model for a CPU from a data set: leave --only_infer, --text, "
                             "--question and --gpu out.")
        if self.exported_model is None:
            check_output_folder("output_dir", self.output_dir)
        else:
            check_output_folder("exported_model", Path(self.exported_model).parent)
