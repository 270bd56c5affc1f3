"""Bad inputs as one table: each ends in one sentence and an exit code, before any long work, and destroys nothing.
"""

import dataclasses
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from bertpass import _core
from bertpass.base.paths import cuda_engine
from bertpass.commands import main, run
from bertpass.commands.here import demo
from bertpass.commands.make import deploy, finetune
from bertpass.engines.native import NativeEngine
from bertpass.errors import BertpassError, ServerError, TrainingError
from bertpass.model.files import params_file
from bertpass.model.hub.packages import Package, Weights
from tests.helpers import toy

NOWHERE = Weights("nowhere", "0" * 64, 84, (Package("no-such-package", "1", "", "no_such_package"),), "model")


class Contrary(NativeEngine):
    """Says the opposite in low precision."""

    def forward(self, *batch):
        outputs = super().forward(*batch)
        return outputs if self.describe()["dtype"] == "float32" else [-output for output in outputs]


def no_cuda_engine():
    return not cuda_engine().is_file()


def cpu_build():
    from bertpass.mx import mx

    return not mx.runtime.Features().is_enabled("CUDA")


@pytest.fixture(scope="module")
def p(encoder, data, sst, deployed, squad, tmp_path_factory):
    """Where everything is: good things from the other fixtures, and a folder of bad ones."""
    bad = tmp_path_factory.mktemp("bad")
    write(bad / "empty.tsv", "")
    write(bad / "columns.tsv", "text\tlabel\na\tyes\nb\tno\textra\n")
    write(bad / "bytes.tsv", b"text\tlabel\nfilm\tyes\n\xff\xfe\tno\n")
    write(bad / "one_class.tsv", "text\tlabel\ngood\tyes\nfine\tyes\n")
    write(bad / "label.tsv", "text\tlabel\ngood\tyse\n")
    write(bad / "glue" / "SST-2" / "train.tsv", "sentence\tlabel\ngood\t1\nbad\t3\n")
    write(bad / "cut.csv.gz", gzip.compress(b"text,label\ngood,yes\nbad,no\n" * 50)[:-20])
    write(bad / "tags.conll", "anna B-PER\nis\n")
    write(bad / "no_tags.conll", "anna NNP\nis VBZ\n")
    write(bad / "ranking.tsv", "query\tpassage\trelevance\nwho ?\tanna\t3\n")
    write(bad / "twice.csv", "text,label,label\na,yes,no\n")
    write(bad / "open.csv", 'text,label\ngood,yes\n"bad,no\nfine,yes\n')
    write(bad / "inner.csv", 'text,label\n"5" screen",yes\n')
    write(bad / "cr.csv", "text,label\rgood,yes\rbad,no\r")
    write(bad / "tabs.tsv", "text,label\ngood,yes\n")
    write(bad / "pairs.csv", "text,text_pair,label\ngood,a,yes\nbad,b,no\n")
    write(bad / "pairs2.csv", "text,text_pair,label\ngood,a,1\nbad,b,0\n")
    write(bad / "case.conll", "1 anna B-PER\n2 is O\n\n1 bert B-PER\n2 is O\n")
    write(bad / "nested.conll", "anna B-PER O\nis O O\n")
    write(bad / "numbers.tsv", "text\tlabel\ngood\t1\n")
    write(bad / "text.so", "I am no library.\n")
    write(bad / "nothing" / "readme", "no data here")
    write(bad / "broken.json", '{"version": "1.1", "data": [')
    article = {"title": "", "paragraphs": [{"context": "anna is here", "qas": [
        {"id": "1", "question": "who ?", "answers": [{"text": "bert", "answer_start": 0}]}]}]}
    write(bad / "answer.json", json.dumps({"version": "1.1", "data": [article]}))
    article["paragraphs"][0]["qas"][0] |= {"is_impossible": "perhaps"}
    write(bad / "flag.json", json.dumps({"version": "1.1", "data": [article]}))
    weights = shutil.copytree(sst / "bundle", bad / "bundle_cut") / "model-0000.params"
    write(weights, weights.read_bytes()[:-100])
    shutil.copy(sst / "net.params", write(bad / "alone" / "readme", "").parent)
    shutil.copytree(encoder, bad / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    write(bad / "pickled" / "pytorch_model.bin", b"\x80\x02}.")
    shutil.copytree(encoder, bad / "no_vocabulary", ignore=shutil.ignore_patterns("*token*", "vocab*"))
    for name in ("other", "narrow", "json", "nodes", "binary"):
        shutil.copytree(deployed / "SST", bad / name)
    wider = toy.write_encoder(bad / "wider", units=48)
    argv = toy.deploy("--task", "embedding", "--bert_model", wider, "--data_dir", data / "glue", "--output_dir", bad)
    assert deploy.main(argv) == 0
    shutil.copy(bad / "embedding" / "embedding-0000.params", bad / "other" / "SST-0000.params")
    narrow = bad / "narrow" / "SST-0000.params"
    params_file.write(narrow, {n: a[..., :a.shape[-1] // 2] for n, a in params_file.read(narrow).items()})
    write(bad / "json" / "SST-symbol.json", '{"nodes": [')
    write(bad / "nodes" / "SST-symbol.json", '{"nodes": [{"op": "FullyConnected"}]}')
    write(bad / "binary" / "SST-symbol.json", b"\xff\xfe\x00")
    shutil.copytree(sst, bad / "trained")
    write(bad / "trained2" / "checkpoint" / "state.json", "{ no")
    return SimpleNamespace(encoder=encoder, data=data, sst=sst, deployed=deployed, squad=squad, bad=bad)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


COMMANDS = {"deploy": deploy.main, "classifier": finetune.classifier, "squad": finetune.squad, "demo": demo.main,
            "bench": lambda words: main.main(["bench", "passes", *words]), "bertpass": main.main}


@dataclasses.dataclass
class Bad:
    """One row: what is wrong, the command, its arguments, the exit code, words of the sentence.

    ``arguments(p)`` are added to those that would work; ``replace`` starts from nothing instead. ``needs`` is a
    condition without which the row means nothing. ``patch`` is a module, a name and a value for the time of the run.
    """

    what: str
    command: str
    arguments: Callable[[SimpleNamespace], tuple]
    code: int
    words: tuple[str, ...]
    replace: bool = False
    needs: Callable[[], bool] | None = None
    patch: tuple[str, object] | None = None


def own(train, dev=None):
    """Arguments that train on a file of the bad folder."""
    return lambda p: ("--bert_model", p.encoder, "--max_len", 24, "--train_file", p.bad / train, "--dev_file",
                      p.bad / dev if dev else p.data / "own.dev.tsv")


def own_kind(kind, train):
    return lambda p: ("--task_kind", kind, *own(train, train)(p))


def exported(name):
    return lambda p: ("--only_infer", "--seq_length", 24, "--task", "SST", "--data_dir", p.data / "glue",
                      "--exported_model", p.bad / name / "SST")


TABLE = [
    # flags
    Bad("an unknown flag", "deploy", lambda p: ("--sequence_length", 3), 2, ("--sequence_length", "--seq_length")),
    Bad("a value of the wrong type", "deploy", lambda p: ("--test_batch_size", "many"), 2, ("--test_batch_size",)),
    Bad("batch size 0", "deploy", lambda p: ("--test_batch_size", 0), 2, ("--test_batch_size 0", "at least 1")),
    Bad("batch size 0", "classifier", lambda p: ("--batch_size", 0), 2, ("--batch_size 0", "at least 1")),
    Bad("a learning rate that is no number", "classifier", lambda p: ("--lr", "nan"), 2, ("--lr nan", "finite")),
    Bad("an endless learning rate", "squad", lambda p: ("--lr", "inf"), 2, ("--lr inf", "finite")),
    Bad("two flags that contradict", "classifier", lambda p: ("--cased", "--uncased"), 2, ("--cased", "--uncased")),
    Bad("an unknown task", "classifier", lambda p: ("--task_name", "SSTT"), 2, ("SSTT", "Did you mean 'SST'")),
    Bad("an unknown task", "deploy", lambda p: ("--task", "MNL"), 2, ("MNL", "Did you mean 'MNLI'")),
    Bad("a task of the other script", "classifier", lambda p: ("--task_name", "QA"), 2, ("bertpass finetune squad",)),
    Bad("nothing to train", "classifier", lambda p: (), 2, ("--task_name", "--train_file"), replace=True),
    Bad("nothing to run", "deploy", lambda p: (), 2, ("--model_parameters", "--task"), replace=True),
    Bad("an exported model to train", "classifier", lambda p: ("--deploy", "--model_prefix", "x"), 2,
        ("--deploy", "--only_inference")),
    Bad("an exported model to train", "squad", lambda p: ("--deploy", "--model_prefix", "x"), 2, ("--only_predict",)),
    Bad("half of two flags", "squad", lambda p: ("--deploy", "--only_predict"), 2, ("--model_prefix PREFIX",)),
    Bad("an exported model that is not there", "classifier",
        lambda p: ("--only_inference", "--deploy", "--model_prefix", p.bad / "nowhere" / "x"), 4,
        ("there is no", "x-symbol.json")),
    Bad("a SentencePiece vocabulary", "squad", lambda p: ("--sentencepiece", "x.bpe"), 2, ("SentencePiece", "--vocab")),
    Bad("a flag of the other script", "squad", lambda p: ("--dev_batch_size", "1"), 2,
        ("Did you mean '--batch_size'?",)),
    Bad("passes for a training", "classifier", lambda p: ("--custom_passes", "MHAInterleave"), 2,
        ("--only_calibration", "deploy.py")),
    Bad("an unknown pass", "classifier", lambda p: ("--only_calibration", "--custom_passes", "MHAInterleav"), 5,
        ("unknown pass 'MHAInterleav'", "Did you mean 'MHAInterleave'")),
    Bad("--only_infer without a prefix", "deploy", lambda p: ("--only_infer",), 2, ("--exported_model PREFIX",),
        replace=True),
    Bad("a question without a context", "deploy", lambda p: ("--question", "who ?"), 2,
        ("--question needs --context",)),
    Bad("a question to a classifier", "deploy", lambda p: ("--question", "who ?", "--context", "anna"), 2,
        ("answers no questions", "--text")),
    Bad("a text to a QA model", "deploy", lambda p: ("--model_parameters", p.squad / "net.params", "--text", "a",
                                                     "--seq_length", 24), 2, ("--question and --context",),
        replace=True),
    Bad("an empty text", "deploy", lambda p: ("--text", " "), 2, ("--text", "no text")),
    # files and folders
    Bad("a data folder that is not there", "classifier", lambda p: ("--data_dir", p.bad / "nowhere"), 2,
        ("--data_dir", "no such")),
    Bad("a data folder without the task", "classifier", lambda p: ("--data_dir", p.bad / "nothing"), 3,
        ("no train file of SST", "train.tsv[.gz]")),
    Bad("a data folder without the task", "deploy", lambda p: ("--data_dir", p.bad / "nothing"), 3,
        ("no dev file of SST",)),
    Bad("a file that is not there", "classifier", own("nowhere.tsv"), 2, ("--train_file", "no such"), replace=True),
    Bad("a file of an unknown kind", "classifier", own("text.so"), 2, (".tsv, .csv or .jsonl",), replace=True),
    Bad("an empty file", "classifier", own("empty.tsv"), 3, ("empty.tsv", "no rows"), replace=True),
    Bad("a row with too many columns", "classifier", own("columns.tsv"), 3, ("line 3", "3 columns, expected 2"),
        replace=True),
    Bad("bytes that are no text", "classifier", own("bytes.tsv"), 3, ("bytes.tsv, line 3", "UTF-8"), replace=True),
    Bad("data of one class", "classifier", own("one_class.tsv"), 3, ("only the label yes", "at least two"),
        replace=True),
    Bad("an unknown label in the dev file", "classifier",
        lambda p: ("--bert_model", p.encoder, "--train_file", p.data / "own.train.tsv", "--dev_file",
                   p.bad / "label.tsv"), 3, ("label.tsv, line 2", "unknown label 'yse'", "Did you mean 'yes'"),
        replace=True),
    Bad("an unknown label of a task", "classifier", lambda p: ("--data_dir", p.bad / "glue"), 3,
        ("train.tsv, line 3", "unknown label '3'")),
    Bad("a word without a tag", "classifier", own_kind("tokens", "tags.conll"), 3, ("tags.conll, line 2", "1 columns"),
        replace=True),
    Bad("parts of speech as tags", "classifier", own_kind("tokens", "no_tags.conll"), 3,
        ("no_tags.conll, line 1", "'NNP'", "B-PER"), replace=True),
    Bad("a relevance that is no share", "classifier", own_kind("ranking", "ranking.tsv"), 3,
        ("ranking.tsv, line 2", "from 0 (none) to 1"), replace=True),
    Bad("a ranking without passages", "classifier", own_kind("ranking", "numbers.tsv"), 3,
        ("numbers.tsv has no passages", "query, passage, relevance"), replace=True),
    Bad("no separator of labels", "classifier", lambda p: ("--label_separator", ""), 2, ("--label_separator",)),
    Bad("columns without a file", "classifier", lambda p: ("--text_column", "a"), 2, ("--text_column", "your own")),
    Bad("columns without a file", "deploy", lambda p: ("--label_column", "a"), 2, ("--label_column", "your own")),
    Bad("one column twice", "deploy", lambda p: ("--label_column", "a", "--text_column", "A ", "--eval_file", __file__),
        2, ("--text_column, --label_column", "a column of its own")),
    Bad("no separator of labels", "deploy", lambda p: ("--label_separator", ""), 2, ("--label_separator",)),
    Bad("a task without training data", "classifier", lambda p: ("--task_name", "AX"), 2,
        ("split of AX 'train'", "Known: test")),
    Bad("labels that nothing tells", "deploy", lambda p: ("--task", "NER", "--bert_model", p.encoder, "--text", "a"), 2,
        ("NER takes its labels from training data", "--model_parameters"), replace=True),
    Bad("a column twice", "classifier", own("twice.csv"), 3, ("twice.csv, line 1", "column label is there twice"),
        replace=True),
    Bad("a quote that is never closed", "classifier", own("open.csv"), 3, ("open.csv, line 3", "never closed"),
        replace=True),
    Bad("a quote inside a quoted cell", "classifier", own("inner.csv"), 3, ("inner.csv, line 2", "written twice"),
        replace=True),
    Bad("lines that end in CR", "classifier", own("cr.csv"), 3, ("cr.csv, line 1", "CR alone"), replace=True),
    Bad("commas in a .tsv", "classifier", own("tabs.tsv"), 3, ("tabs.tsv, line 1", "name it .csv"), replace=True),
    Bad("pairs to train, single texts to score", "classifier", own("pairs.csv"), 3,
        ("pairs.csv has pairs of texts", "own.dev.tsv has single ones"), replace=True),
    Bad("pairs for a task of single texts", "deploy", lambda p: ("--eval_file", p.bad / "pairs2.csv"), 3,
        ("pairs2.csv has pairs of texts", "SST takes single texts")),
    Bad("a column that numbers the words", "classifier", own_kind("tokens", "case.conll"), 3,
        ("case.conll", "numbers the words", "--word_column 2"), replace=True),
    Bad("two columns of tags", "classifier", own_kind("tokens", "nested.conll"), 3,
        ("columns 2 and 3 hold tags", "--tag_column 3"), replace=True),
    Bad("a column that is not there", "classifier", lambda p: ("--tag_column", 7, *own_kind(
        "tokens", "nested.conll")(p)), 2, ("--tag_column 7", "3 columns"), replace=True),
    Bad("a flag that is neither true nor false", "squad", lambda p: ("--dev_file", p.bad / "flag.json", "--train_file",
                                                                     p.bad / "flag.json"), 3,
        ("flag.json", "is_impossible is 'perhaps'", "true or false")),
    Bad("a damaged .gz", "classifier", own("cut.csv.gz"), 3, ("cut.csv.gz", "damaged"), replace=True),
    Bad("SQuAD 2.0 without --version_2", "squad",
        lambda p: ("--dev_file", p.data / "squad" / "dev-v2.0.json", "--train_file",
                   p.data / "squad" / "train-v1.1.json"), 2, ("SQuAD 2.0", "--version_2")),
    Bad("SQuAD 2.0 without --QA_version_2", "deploy",
        lambda p: ("--model_parameters", p.squad / "net.params", "--task", "QA", "--seq_length", 24, "--eval_file",
                   p.data / "squad" / "dev-v2.0.json"), 2, ("SQuAD 2.0", "--QA_version_2"), replace=True),
    Bad("a SQuAD file that is cut", "squad", lambda p: ("--train_file", p.bad / "broken.json", "--dev_file",
                                                        p.bad / "broken.json"), 3, ("broken.json, line 1", "not JSON")),
    Bad("an answer that is not in its context", "squad",
        lambda p: ("--train_file", p.bad / "answer.json", "--dev_file", p.bad / "answer.json"), 3,
        ("no questions that can be trained on", "does not hold the answer 'bert'")),
    Bad("an answer that is not in its context, strictly", "squad",
        lambda p: ("--train_file", p.data / "squad" / "train-v1.1.json", "--dev_file", p.bad / "answer.json",
                   "--strict_answers"), 3, ("answer.json", "question '1'", "does not hold the answer 'bert'")),
    Bad("data without a public address", "classifier", lambda p: ("--task_name", "LCQMC", "--bert_model", p.encoder), 8,
        ("LCQMC", "--data_dir"), replace=True),
    Bad("an output folder that is a file", "classifier", lambda p: ("--output_dir", p.bad / "text.so"), 2,
        ("--output_dir", "is a file")),
    Bad("an output folder below a file", "squad", lambda p: ("--output_dir", p.bad / "text.so" / "out"), 2,
        ("--output_dir", "is a file")),
    Bad("an output folder below a file", "deploy", lambda p: ("--output_dir", p.bad / "text.so" / "out"), 2,
        ("--output_dir", "is a file")),
    # devices
    *(Bad("--gpu on a CPU build", command, lambda p: ("--gpu", 0), 7, ("--gpu 0", "CPU build", "leave --gpu out"),
          needs=cpu_build) for command in ("deploy", "classifier", "squad")),
    *(Bad("float16 on a CPU", command, lambda p: ("--dtype", "float16"), 7, ("float16", "--gpu", "--dtype float32"))
      for command in ("deploy", "classifier", "squad")),
    Bad("float16 on a CPU without the pass that computes it", "deploy", lambda p: (
        "--dtype", "float16", "--custom_pass", toy.LIBRARY, "--passes", "remove_noops"), 7, ("native_encoder",
                                                                                             "--passes")),
    Bad("bfloat16 without passes", "deploy", lambda p: ("--dtype", "bfloat16", "--passes", "none"), 7,
        ("bfloat16", "native_encoder", "--dtype float32")),
    Bad("our encoder on a GPU without the CUDA engine", "deploy", lambda p: ("--gpu", 0, "--passes", "native_encoder"),
        6, ("the CUDA engine is not built", "make cuda"), needs=no_cuda_engine),
    # passes
    Bad("a pass library that is not there", "deploy", lambda p: ("--custom_pass", p.bad / "nowhere.so"), 5,
        ("--custom_pass", "setup.py build_ext")),
    Bad("a text file as pass library", "deploy", lambda p: ("--custom_pass", p.bad / "text.so"), 5,
        ("text.so cannot be loaded as an MXNet extension library",)),
    Bad("a foreign library", "deploy", lambda p: ("--custom_pass", _core.__file__), 5,
        ("cannot be loaded as an MXNet extension library",)),
    *(Bad("no pass is named", "deploy", lambda p, words=words: ("--passes", *words), 5, ("give auto, none or names",))
      for words in ((), (",",))),
    Bad("auto and a name", "deploy", lambda p: ("--passes", "auto", "bias_gelu"), 5, ("'auto' stands alone",)),
    Bad("an unknown pass", "deploy", lambda p: ("--passes", "interleave_kqv"), 5,
        ("unknown pass 'interleave_kqv'", "Did you mean 'interleave_qkv'")),
    # models
    Bad("an unknown model", "classifier", lambda p: ("--bert_model", "bert_12_768_21"), 4,
        ("bert_12_768_21", "Did you mean 'bert_12_768_12'")),
    Bad("weights that are not there", "deploy", lambda p: ("--model_parameters", p.bad / "net.params"), 2,
        ("--model_parameters", "no such")),
    Bad("a folder that is no model", "deploy", lambda p: ("--model_parameters", p.bad / "nothing"), 4,
        ("neither bundle.json nor config.json",)),
    Bad("cut weights", "deploy", lambda p: ("--model_parameters", p.bad / "bundle_cut"), 4,
        ("model-0000.params", "not a usable MXNet parameter file")),
    Bad("a text file as weights", "deploy", lambda p: ("--model_parameters", p.bad / "columns.tsv"), 4,
        ("not a usable MXNet parameter file",)),
    Bad("weights without a vocabulary", "deploy",
        lambda p: ("--model_parameters", p.bad / "alone" / "net.params", "--num_heads", 4), 4, ("--vocab",)),
    Bad("a folder without a vocabulary", "classifier", lambda p: ("--bert_model", p.bad / "no_vocabulary"), 4,
        ("no vocabulary", "--vocab")),
    Bad("a pickle", "classifier", lambda p: ("--bert_model", p.bad / "pickled"), 4, ("pytorch_model.bin", "allow")),
    Bad("a model of another task", "deploy", lambda p: ("--model_parameters", p.squad / "net.params"), 4,
        ("head is 'qa'", "'classification'")),
    Bad("a model of another task", "squad", lambda p: ("--model_parameters", p.sst / "net.params"), 4,
        ("head is 'classification'", "'qa'")),
    Bad("more tokens than positions", "deploy", lambda p: ("--seq_length", 64), 2, ("--seq_length 64", "48 positions")),
    Bad("more tokens than positions", "classifier", lambda p: ("--max_len", 64), 2, ("--max_len 64", "48 positions")),
    Bad("more tokens than positions", "squad", lambda p: ("--max_seq_length", 64), 2,
        ("--max_seq_length 64", "48 positions")),
    Bad("no room for the context", "deploy",
        lambda p: ("--model_parameters", p.squad / "net.params", "--task", "QA", "--data_dir", p.data / "squad",
                   "--seq_length", 7), 2, ("no room for context",), replace=True),
    Bad("a package that is not installed", "classifier", lambda p: ("--bert_model", "minilm"), 6,
        ("minilm", "bertpass download minilm"), patch=("bertpass.model.hub.packages.NAMES", {"minilm": NOWHERE})),
    # low precision
    Bad("low precision that does not hold", "deploy", lambda p: ("--dtype", "int8", "--max_metric_drop", 0.1), 9,
        ("accuracy drops by", "--max_metric_drop 0.1"),
        patch=("bertpass.jobs.low_precision.lower.NativeEngine", Contrary)),
    Bad("a guard without lower precision", "deploy", lambda p: ("--max_metric_drop", 0.1), 2,
        ("--max_metric_drop", "--dtype int8")),
    Bad("a guard without labels", "deploy",
        lambda p: ("--dtype", "int8", "--max_metric_drop", 0.1, "--eval_file", p.data / "own.test.tsv"), 2,
        ("no labels", "--eval_file")),
    Bad("MXNet's int8 without calibration", "deploy",
        lambda p: ("--dtype", "int8", "--engine", "mxnet", "--calib_mode", "none"), 2, ("--calib_mode none", "naive")),
    Bad("bytes without a sign", "deploy",
        lambda p: ("--dtype", "int8", "--engine", "mxnet", "--quantized_dtype", "uint8"), 2,
        ("--quantized_dtype uint8",)),
    Bad("MXNet's bfloat16", "deploy", lambda p: ("--dtype", "bfloat16", "--engine", "mxnet"), 2,
        ("--int8_engine mxnet --dtype bfloat16", "--int8_engine native")),
    Bad("a layer that there is not", "deploy", lambda p: ("--dtype", "int8", "--keep", "7=float32"), 2,
        ("'7=float32'", "2 layers")),
    Bad("a layer to keep in nothing", "deploy", lambda p: ("--keep", "0=float32"), 2, ("--keep needs",)),
    Bad("calibration flags in training", "squad", lambda p: ("--max_metric_drop", 0.1), 2, ("--only_calibration",)),
    Bad("a calibration mode that there is not", "squad", lambda p: ("--calib_mode", "naif"), 2,
        ("--calib_mode naif", "Did you mean 'naive'")),
    # exported models and checkpoints
    Bad("an exported model that is not there", "deploy", exported("nothing"), 4, ("SST-symbol.json", "export"),
        replace=True),
    Bad("exported weights of another model", "deploy", exported("other"), 4, ("not of one export",), replace=True),
    Bad("exported weights of other shapes", "deploy", exported("narrow"), 4, ("shapes", "not of one export"),
        replace=True),
    Bad("a cut symbol file", "deploy", exported("json"), 4, ("json/SST-symbol.json", "not an exported graph"),
        replace=True),
    Bad("a symbol file that is no graph", "deploy", exported("nodes"), 4, ("nodes/SST-symbol.json",), replace=True),
    Bad("a binary file as symbol", "deploy", exported("binary"), 4, ("binary/SST-symbol.json",), replace=True),
    Bad("an export over a fine-tuned model", "deploy", lambda p: ("--exported_model", p.bad / "trained" / "model"), 2,
        ("holds another model (net.params)", "--exported_model")),
    Bad("--resume with other options", "classifier",
        lambda p: ("--output_dir", p.bad / "trained", "--resume", "--batch_size", 16), 2,
        ("--resume", "--batch_size 8, not 16")),
    Bad("--resume from a damaged checkpoint", "classifier",
        lambda p: ("--output_dir", p.bad / "trained2", "--resume"), 4, ("state.json", "not valid JSON")),
    # the other commands
    Bad("an unknown command", "bertpass", lambda p: ("optimise",), 2, ("'optimise'", "Did you mean 'optimize'")),
    Bad("no output", "bertpass", lambda p: ("optimize", "--input", "a"), 2, ("OUTPUT is needed",)),
    Bad("an exported model that is not there", "bertpass",
        lambda p: ("optimize", "--input", p.bad / "model", "--output", "new"), 4, ("model-symbol.json",)),
    Bad("a cut symbol file", "bertpass",
        lambda p: ("optimize", "--input", p.bad / "json" / "SST", "--output", "new"), 10, ("JSON",)),
    Bad("a format that there is not", "bertpass",
        lambda p: ("convert", "--input", p.encoder, "--output", "new", "--format", "onnx"), 2, ("onnx", "gluonnlp")),
    Bad("a folder that is no model", "bertpass",
        lambda p: ("convert", "--input", p.bad / "nothing", "--output", "new"), 4, ("neither bundle.json",)),
    Bad("a conversion over something else", "bertpass",
        lambda p: ("convert", "--input", p.encoder, "--output", p.bad / "nothing"), 4, ("not empty", "another folder")),
    Bad("a shape that is none", "bench", lambda p: ("--shapes", "1*128"), 2, ("--shapes 1*128", "1x128")),
    Bad("a result file below a file", "bench", lambda p: ("--output", p.bad / "text.so" / "figures.json"), 2,
        ("--output", "is a file")),
    Bad("--gpu on a CPU build", "bench", lambda p: ("--gpu", 0), 7, ("--gpu 0", "CPU build"), needs=cpu_build),
    Bad("more tokens than positions", "bench", lambda p: ("--bert_model", p.encoder, "--shapes", "1x64"), 2,
        ("64 tokens", "48 positions")),
    Bad("the demo without its library", "demo", lambda p: (), 5, ("make build",),
        patch=("bertpass.commands.here.demo.LIBRARY", toy.ROOT / "nowhere.so")),
]


def arguments(row, p, out):
    """The whole command line of a row."""
    extra = toy.strings(*row.arguments(p))
    if row.command in ("bench", "bertpass"):
        return extra
    if row.command == "demo" or row.replace:
        start = []
    elif row.command == "deploy":
        start = toy.deploy("--model_parameters", p.sst / "net.params", "--task", "SST", "--data_dir", p.data / "glue")
    elif row.command == "classifier":
        start = toy.classify(p.encoder, out, "--task_name", "SST", "--data_dir", p.data / "glue")
    else:
        start = toy.squad(p.encoder, out, "--data_dir", p.data / "squad")
    return [*start, "--output_dir", str(out), *extra]


def state(*folders):
    """Every file with its size and time: equal states mean that nothing was written, changed or removed."""
    return {f: (f.stat().st_size, f.stat().st_mtime_ns) for folder in folders for f in folder.rglob("*")}


@pytest.mark.parametrize("row", TABLE, ids=[f"{row.command}: {row.what}" for row in TABLE])
def test_ends_in_one_sentence(row, p, tmp_path, capsys, monkeypatch):
    if row.needs is not None and not row.needs():
        pytest.skip("this row needs a CPU build of MXNet; run it where MXNet has no CUDA")
    if row.patch is not None:
        monkeypatch.setattr(*row.patch)
    monkeypatch.chdir(tmp_path)
    before = state(p.bad, p.sst, p.deployed, p.squad, p.data, p.encoder)
    code = COMMANDS[row.command](arguments(row, p, tmp_path / "out"))
    told = capsys.readouterr()
    errors = [line for line in told.err.splitlines() if line.startswith("error:")]
    assert code == row.code, told.err
    assert len(errors) == 1 and told.err.splitlines()[-1] == errors[0] and "Traceback" not in told.err
    assert errors[0].endswith((".", "'", "?")), "a sentence has an end"
    for word in row.words:
        assert word in errors[0]
    assert told.out == ""
    assert state(p.bad, p.sst, p.deployed, p.squad, p.data, p.encoder) == before
    assert list(tmp_path.iterdir()) == []


def test_the_table_covers_every_exit_code():
    later = {TrainingError, ServerError}  # not by a bad input but in the work itself; tests of training and of the demo
    codes = {cls.exit_code for cls in BertpassError.__subclasses__() if cls not in later} - {1}
    assert codes <= {row.code for row in TABLE} and len(TABLE) >= 25


@pytest.mark.parametrize(("script", "what"), [
    ("deploy.py", "a text file as pass library"), ("deploy.py", "a foreign library"),
    ("deploy.py", "a symbol file that is no graph"), ("finetune/finetune_squad.py", "a SQuAD file that is cut")])
def test_as_a_process(script, what, p, tmp_path):
    """The same as seen from a shell: MXNet's own words, if any, do not hide the sentence."""
    row = next(row for row in TABLE if row.what == what)
    done = subprocess.run([sys.executable, toy.ROOT / script, *arguments(row, p, tmp_path / "out")],
                          capture_output=True, text=True, cwd=tmp_path, check=False,
                          env={**os.environ, "PYTHONPATH": str(toy.ROOT)})
    assert done.returncode == row.code, done.stderr
    assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number(encoder, data, tmp_path, capsys):
    argv = toy.classify(encoder, tmp_path, "--task_name", "SST", "--data_dir", data / "glue", "--lr", "1e37",
                        "--optimizer", "sgd", "--warmup_ratio", 0)
    assert finetune.classifier(argv) == TrainingError.exit_code
    told = capsys.readouterr().err
    assert "error: the loss is" in told and "lower --lr" in told and "Traceback" not in told
    assert not (tmp_path / "net.params").exists() and not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("raised", "code", "line"), [
    (KeyboardInterrupt(), 130, "stopped."),
    (OSError(28, "No space left on device", "model.params"), 1,
     "error: [Errno 28] No space left on device: 'model.params'"),
    (BertpassError("two\nlines  here."), 1, "error: two lines here.")])
def test_whatever_stops_a_job(raised, code, line, capsys):
    def job():
        raise raised

    assert run.guarded(job) == code
    assert capsys.readouterr().err == line + "\n"


def test_a_fault_of_ours_keeps_its_traceback():
    def job():
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        run.guarded(job)
