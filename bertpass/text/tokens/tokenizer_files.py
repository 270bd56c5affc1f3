"""A tokenizer's files as transformers reads them: which file wins, what a class's defaults are, which tokens are added.

The settings of tokenizer_config.json go before those of tokenizer.json, as they do in transformers' fast tokenizers.
:mod:`bertpass.known_keys.tokenizer` lists all keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from bertpass import known_keys
from bertpass.errors import ModelError
from bertpass.file_kinds import JSON, because, looks_like, no_json
from bertpass.text.tokens import vocabulary

CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"

# transformers' classes that are computed here, without "Fast"; each set has the defaults of its first one.
BERT_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer",
                "SqueezeBertTokenizer", "LxmertTokenizer", "RetriBertTokenizer", "LayoutLMTokenizer",
                "DPRQuestionEncoderTokenizer", "DPRContextEncoderTokenizer", "DPRReaderTokenizer")
#: WordPiece as BERT's, in RoBERTa's rows and with its names of tokens
MPNET_CLASSES = ("MPNetTokenizer",)
ROBERTA_CLASSES = ("RobertaTokenizer", "LongformerTokenizer")
#: of which tokenizer.json says everything, but for the names of tokens
SENTENCEPIECE_CLASSES = ("XLMRobertaTokenizer", "CamembertTokenizer", "HerbertTokenizer", "AlbertTokenizer",
                         "DebertaV2Tokenizer")
#: the tokens of classes that are not called as their kind of model usually has them
_SPECIAL = {**dict.fromkeys(MPNET_CLASSES, vocabulary.MPNET_SPECIAL), "AlbertTokenizer": vocabulary.ALBERT_SPECIAL,
            "DebertaV2Tokenizer": vocabulary.BERT_SPECIAL}
GENERIC_CLASSES = ("PreTrainedTokenizer", "TokenizersBackend")
_WITHOUT_TYPES = (  # their models take no token types
    "DistilBertTokenizer", "XLMRobertaTokenizer", "CamembertTokenizer", *MPNET_CLASSES, *ROBERTA_CLASSES)
_MASK_TAKES_SPACE = (  # the one before it
    "AlbertTokenizer", "XLMRobertaTokenizer", "CamembertTokenizer", *MPNET_CLASSES, *ROBERTA_CLASSES)
_MORE_SPECIAL = {"CamembertTokenizer": ("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED")}  # where no file lists others
_OF_MODELS = {"albert": "AlbertTokenizer", "deberta-v2": "DebertaV2Tokenizer", "distilbert": "DistilBertTokenizer",
              "roberta": "RobertaTokenizer", "camembert": "CamembertTokenizer", "mpnet": "MPNetTokenizer",
              "xlm-roberta": "XLMRobertaTokenizer"}  # where no file names a class
#: kinds of models, by the library's names, and the class of a folder that names none
KINDS = {"WordPiece": "BertTokenizer", "BPE": "RobertaTokenizer", "Unigram": "XLMRobertaTokenizer",
         "WordLevel": "PreTrainedTokenizer"}
_NORMALISER = {"do_lower_case": "lowercase", "strip_accents": "strip_accents",
               "tokenize_chinese_chars": "handle_chinese_chars"}
_CLASS_DEFAULTS = {"strip_accents": None, "tokenize_chinese_chars": True}  # where nothing says do_lower_case: see below
_SWITCHES = {*_NORMALISER, "add_prefix_space", "trim_offsets", "split_special_tokens"}
_NAMES = {f"{kind}_token" for kind in (*vocabulary.SPECIAL, "bos", "eos")}
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_FLAGS = {"content", "lstrip", "normalized", "rstrip", "single_word", "special"}
_ENDLESS = 1 << 24  # transformers writes 10**30 for "no limit"


@dataclass
class Found:
    """A folder's tokenizer: the backend, special tokens by kind, settings as they are to be written, notes."""

    backend: tokenizers.Tokenizer
    special: dict[str, str]
    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def read(folder: Path) -> Found:
    """Read tokenizer.json, else vocab.txt, else vocab.json with merges.txt, and the settings beside it.

    Raises
    ------
    ModelError
        There is none of these, one cannot be read, or it is a tokenizer that is not computed here.
    """
    notes: list[str] = []
    config = _config(folder, notes)
    kind = _class_of(folder, config)
    if (folder / "tokenizer.json").is_file():
        where = folder / "tokenizer.json"
        try:
            text = where.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ModelError(f"{where} cannot be read as a tokenizer: {because(where, error)}.") from error
        backend = parse(text, str(where))
        kind = kind or KINDS[kind_of(backend)]
        _apply(backend, config, kind, notes)
    elif (folder / "vocab.txt").is_file():
        kind = kind or "BertTokenizer"
        backend = _from_vocab_txt(folder / "vocab.txt", config, kind, notes)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        kind = kind or "RobertaTokenizer"
        backend = _from_merges(folder, config)
    else:
        raise ModelError(f"{folder} holds no tokenizer: expected tokenizer.json, vocab.txt, or vocab.json with "
                         "merges.txt.")
    special = _named(config, _SPECIAL.get(kind) or defaults(backend))
    _add_tokens(backend, folder, config, special, kind, notes)
    config["tokenizer_class"] = "PreTrainedTokenizerFast" if kind in GENERIC_CLASSES else kind
    if kind in _WITHOUT_TYPES:
        config.setdefault("model_input_names", ["input_ids", "attention_mask"])
    if backend.truncation is not None:
        config.setdefault("truncation_side", backend.truncation["direction"])
    return Found(backend, special, config, notes)


def parse(text: str, where: str) -> tokenizers.Tokenizer:
    """The backend of a tokenizer.json's content; ModelError where it is damaged or of a kind that is not computed."""
    try:
        backend = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception for every fault
        raise ModelError(f"{where} cannot be read as a tokenizer: {no_json(text.encode('utf-8'), error)}.") from error
    if kind_of(backend) not in KINDS:
        raise ModelError(f"{where} holds a {kind_of(backend)} tokenizer; supported are {', '.join(KINDS)}.")
    if isinstance(backend.model, models.BPE) and backend.model.dropout:
        raise ModelError(f"{where} asks for a BPE dropout of {backend.model.dropout}, with which a text has other "
                         "tokens every time; set \"dropout\" to null there.")
    return backend


def kind_of(backend: tokenizers.Tokenizer) -> str:
    """The library's name of a backend's model; one of :data:`KINDS` where it is computed here."""
    return type(backend.model).__name__


def defaults(backend: tokenizers.Tokenizer) -> dict[str, str]:
    """The special tokens by kind where no file names them."""
    if isinstance(backend.model, models.WordPiece | models.WordLevel):
        return {**vocabulary.BERT_SPECIAL, "unk": backend.model.unk_token}
    return dict(vocabulary.ROBERTA_SPECIAL)


def wordpiece(tokens: Sequence[str], special: Mapping[str, str], *, lower: bool, strip_accents: bool | None = None,
              chinese: bool = True, max_word_length: int = 100) -> tokenizers.Tokenizer:
    """BERT's tokenizer of a list of tokens in the order of their ids; a token that occurs twice has the later id.

    Special tokens that stand in a text are not known to it yet.
    """
    unique = vocabulary.by_id({token: at for at, token in enumerate(tokens)}, len(tokens))
    vocab = {token: at for at, token in enumerate(unique)}
    model = models.WordPiece(vocab, unk_token=special["unk"], max_input_chars_per_word=max_word_length)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lower)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    cls, sep = special["cls"], special["sep"]
    if cls in vocab and sep in vocab:
        backend.post_processor = processors.BertProcessing(sep=(sep, vocab[sep]), cls=(cls, vocab[cls]))
    return backend


def plain_names(config: Mapping[str, Any], vocab: Mapping[str, int]) -> dict[str, Any]:
    """Settings with special tokens by their text alone, for beside an added_tokens_decoder that has their flags.

    Names of tokens that the vocabulary does not have are left out, as they have no effect.
    """
    plain = {key: value for key, value in config.items() if key not in (*_NAMES, *_LISTS)}
    for key in _NAMES & config.keys():
        if config[key] is None or _content(config[key]) in vocab:
            plain[key] = _content(config[key])
    more = [text for key in _LISTS for one in _list(config, key) if (text := _content(one)) in vocab]
    return plain | ({"additional_special_tokens": list(dict.fromkeys(more))} if more else {})


def model_max_length(config: Mapping[str, Any]) -> int | None:
    """The longest row that tokenizer_config.json allows, special tokens included; None where it names no limit."""
    length = config.get("model_max_length", config.get("max_len"))
    if isinstance(length, bool) or not isinstance(length, int | float) or not 0 < length < _ENDLESS:
        return None
    return int(length)


def normaliser_settings(backend: tokenizers.Tokenizer) -> dict[str, Any]:
    """What tokenizer_config.json says about BERT's normaliser; empty for another one."""
    state = _state(backend.normalizer)
    if state.get("type") != "BertNormalizer":
        return {}
    return {key: state[inner] for key, inner in _NORMALISER.items()}


def prefix_settings(backend: tokenizers.Tokenizer) -> dict[str, Any]:
    """What tokenizer_config.json says about byte-level BPE; empty for another pre-tokenizer."""
    before, after = _state(backend.pre_tokenizer), _state(backend.post_processor)
    found = {"add_prefix_space": before["add_prefix_space"]} if before.get("type") == "ByteLevel" else {}
    return found | ({"trim_offsets": after["trim_offsets"]} if "trim_offsets" in after else {})


# -- the settings -----------------------------------------------------------------------------------------------------


def _config(folder: Path, notes: list[str]) -> dict[str, Any]:
    """tokenizer_config.json; where it has no added_tokens_decoder, special_tokens_map.json goes before it."""
    config = vocabulary.read_json_object(folder / CONFIG)
    names = vocabulary.read_json_object(folder / MAP)
    notes += known_keys.look(CONFIG, config, str(folder / CONFIG)) + known_keys.look(MAP, names, str(folder / MAP))
    if "added_tokens_decoder" not in config:
        extra = [*_list(config, "additional_special_tokens"), *_list(names, "additional_special_tokens")]
        config |= names
        if extra:
            config["additional_special_tokens"] = extra
    for key in _SWITCHES & config.keys():
        if config[key] is None and key != "strip_accents":  # as if it were not there; null is a word for accents alone
            del config[key]
        elif not isinstance(config[key], bool | None):
            raise ModelError(f"{folder / CONFIG} says {key} {json.dumps(config[key]):.40}; expected true or false.")
    if config.get("truncation_side", "right") not in ("left", "right"):
        raise ModelError(f"{folder / CONFIG} says truncation_side {config['truncation_side']!r}; expected left or "
                         "right.")
    return config


def _class_of(folder: Path, config: Mapping[str, Any]) -> str | None:
    """transformers' class without "Fast", or None where no file names one.

    Raises
    ------
    ModelError
        It is not computed here.
    """
    model = vocabulary.read_json_object(folder / "config.json")
    for content, file in ((config, CONFIG), (model, "config.json")):
        own = content.get("auto_map")
        own = own.get("AutoTokenizer") if isinstance(own, dict) else own
        if own:
            raise ModelError(f"{folder / file}: auto_map names a tokenizer of the author's own code "
                             f"({_first(own)!r:.60}), which cannot be computed; save it as a tokenizer.json of one of "
                             f"{', '.join(_short())}, and take auto_map out.")
        name = content.get("tokenizer_class")
        if name is None:
            continue
        short = str(name).removesuffix("Fast")
        if short not in (*BERT_CLASSES, *MPNET_CLASSES, *ROBERTA_CLASSES, *SENTENCEPIECE_CLASSES, *GENERIC_CLASSES):
            raise ModelError(f"{folder / file} says tokenizer_class {name}; only {', '.join(_short())} can be "
                             "computed.")
        return short
    return _OF_MODELS.get(str(model.get("model_type")))


def _short() -> tuple[str, ...]:
    return ("BertTokenizer", "DistilBertTokenizer", *MPNET_CLASSES, "RobertaTokenizer", *SENTENCEPIECE_CLASSES,
            "PreTrainedTokenizerFast")


def _first(own: Any) -> Any:
    return next((one for one in own if one), own) if isinstance(own, list) else own


def _apply(backend: tokenizers.Tokenizer, config: Mapping[str, Any], kind: str, notes: list[str]) -> None:
    """Settings of the class over those of tokenizer.json, as transformers puts them."""
    state = _state(backend.normalizer)
    if kind in (*BERT_CLASSES, *MPNET_CLASSES) and state.get("type") == "BertNormalizer":
        wanted = dict(state)
        for key, inner in _NORMALISER.items():
            if kind in MPNET_CLASSES and key == "tokenize_chinese_chars":
                continue  # which this class leaves as tokenizer.json has it
            wanted[inner] = config[key] if key in config else _CLASS_DEFAULTS.get(key, state[inner])
            if key not in config and (wanted[inner] != state[inner] or (key == "do_lower_case" and not state[inner])):
                notes.append(f"{CONFIG} says no {key} and tokenizer.json {json.dumps(state[inner])}; "
                             f"{json.dumps(wanted[inner])} was taken: write it into {CONFIG}.")
        if wanted != state:
            backend.normalizer = normalizers.BertNormalizer(**{k: v for k, v in wanted.items() if k != "type"})
    state = _state(backend.pre_tokenizer)
    if state.get("type") == "ByteLevel":
        prefix = config.get("add_prefix_space", False)  # whatever tokenizer.json says, in every class
        if "add_prefix_space" not in config and state["add_prefix_space"]:
            notes.append(f"{CONFIG} says no add_prefix_space and tokenizer.json true; {json.dumps(prefix)} was taken: "
                         f"write it into {CONFIG}.")
        if prefix != state["add_prefix_space"]:
            fields = {k: v for k, v in state.items() if k != "type"} | {"add_prefix_space": bool(prefix)}
            backend.pre_tokenizer = pre_tokenizers.ByteLevel(**fields)
    state = _state(backend.post_processor)
    if kind in ROBERTA_CLASSES and state.get("type") == "RobertaProcessing":
        backend.post_processor = processors.RobertaProcessing(
            tuple(state["sep"]), tuple(state["cls"]), trim_offsets=bool(config.get("trim_offsets", True)),
            add_prefix_space=bool(config.get("add_prefix_space", False)))


def _state(part: Any) -> dict[str, Any]:
    return {} if part is None else json.loads(part.__getstate__())


# -- vocabularies without tokenizer.json ------------------------------------------------------------------------------


def _from_vocab_txt(path: Path, config: Mapping[str, Any], kind: str, notes: list[str]) -> tokenizers.Tokenizer:
    tokens = vocabulary.read_vocab_txt(path)
    lower = config.get("do_lower_case")
    if lower is None:
        lower = vocabulary.looks_uncased(tokens)
        notes.append(f"no {CONFIG} says do_lower_case; the vocabulary has {'no' if lower else 'some'} upper-case "
                     f"letters, so texts are {'put into lower case' if lower else 'left as they are'}.")
    names = _named(config, _SPECIAL.get(kind, vocabulary.BERT_SPECIAL))
    backend = wordpiece(tokens, names, lower=bool(lower), strip_accents=config.get("strip_accents"),
                        chinese=bool(config.get("tokenize_chinese_chars", True)))
    if kind in MPNET_CLASSES:
        _roberta_rows(backend, names, prefix=False, trim_offsets=False)
    return backend


def _from_merges(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    names = _named(config, vocabulary.ROBERTA_SPECIAL)
    try:
        model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # as in parse
        for name in ("vocab.json", "merges.txt"):
            if (found := looks_like(folder / name)) not in ("", JSON):
                raise ModelError(f"{folder / name} cannot be read as BPE: {found}.") from error
        raise ModelError(f"{folder}: vocab.json and merges.txt cannot be read as BPE ({error}).") from error
    backend = tokenizers.Tokenizer(model)
    prefix = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    _roberta_rows(backend, names, prefix, trim_offsets=bool(config.get("trim_offsets", True)))
    return backend


def _roberta_rows(backend: tokenizers.Tokenizer, names: Mapping[str, str], prefix: bool, trim_offsets: bool) -> None:
    known = backend.get_vocab()
    sep, cls = names["sep"], names["cls"]
    if sep in known and cls in known:
        backend.post_processor = processors.RobertaProcessing(
            sep=(sep, known[sep]), cls=(cls, known[cls]), trim_offsets=trim_offsets, add_prefix_space=prefix)


# -- tokens beside the vocabulary -------------------------------------------------------------------------------------


def _named(config: Mapping[str, Any], usual: Mapping[str, str]) -> dict[str, str]:
    """Special tokens by kind: as the settings name them, else the usual ones. A mask that is null is none."""
    found = {kind: _content(config.get(f"{kind}_token")) for kind in vocabulary.SPECIAL}
    named = {**usual, **{kind: token for kind, token in found.items() if token is not None}}
    return {kind: token for kind, token in named.items() if kind != "mask" or config.get("mask_token", 0) is not None}


def _content(token: Any) -> str | None:
    token = token.get("content") if isinstance(token, Mapping) else token
    return token if isinstance(token, str) else None


def _list(config: Mapping[str, Any], key: str) -> list[Any]:
    value = config.get(key) or []
    return list(value.values()) if isinstance(value, Mapping) else list(value) if isinstance(value, list) else []


def _add_tokens(backend: tokenizers.Tokenizer, folder: Path, config: Mapping[str, Any], special: Mapping[str, str],
                kind: str, notes: list[str]) -> None:
    """Add what added_tokens_decoder, else added_tokens.json, and the names and lists of special tokens say."""
    more = [one for key in _LISTS for one in _list(config, key)]
    usual = {} if kind in GENERIC_CLASSES else special
    said = {_content(config.get(key)) for key in _NAMES}
    named = [config.get(f"{name}_token") or usual.get(name) for name in (*vocabulary.SPECIAL, "bos", "eos")]
    named += [] if any(key in config for key in _LISTS) else _MORE_SPECIAL.get(kind, ())
    specials = {*usual.values(), *(text for one in (*more, *named) if (text := _content(one)) is not None)}
    there = backend.get_added_tokens_decoder()
    wanted = dict(_decoder(folder, config, specials))
    if "added_tokens_decoder" not in config:  # then tokenizer.json knows its own tokens better than added_tokens.json
        wanted = {at: token for at, token in wanted.items() if at not in there}
    have = set(map(_same, there.values()))
    new = [token for _, token in sorted(wanted.items()) if _same(token) not in have]
    listed = {token.content for token in (*there.values(), *new)}
    missing = []
    for one in (*named, *more):
        text = _content(one)
        if text is None or text in listed:
            continue
        listed.add(text)
        if one in more or backend.token_to_id(text) is not None:
            before = kind in _MASK_TAKES_SPACE and text == special.get("mask")
            new.append(_token(one, special=True, where=folder, lstrip=before))
        elif text in said:
            missing.append(text)
    backend.add_tokens([_marked(token, token.special or token.content in specials) for token in new])
    if missing:
        notes.append(f"the vocabulary has no {', '.join(map(repr, missing))}, which the tokenizer's settings name; "
                     "such a text is split as any other.")
    moved = {token.content: at for at, token in wanted.items() if backend.token_to_id(token.content) != at}
    if moved:
        first = next(iter(moved))
        notes.append(f"the tokenizer's settings give {first!r} the id {moved[first]}; by the vocabulary it is "
                     f"{backend.token_to_id(first)}, which was taken as transformers does.")


def _decoder(folder: Path, config: Mapping[str, Any], specials: set[str]) -> Iterator[tuple[int, AddedToken]]:
    """(id, token) of added_tokens_decoder, else of added_tokens.json."""
    listed = config.get("added_tokens_decoder")
    if listed is None:
        for text, at in vocabulary.read_json_object(folder / ADDED).items():
            if not isinstance(at, int):
                raise ModelError(f"{folder / ADDED}: expected a whole number for {text!r}, found {at!r:.40}.")
            special = text in specials
            yield at, AddedToken(text, normalized=not special, special=special)
        return
    if not isinstance(listed, dict):
        raise ModelError(f"{folder / CONFIG}: added_tokens_decoder is not an object of tokens by their ids.")
    for at, token in listed.items():
        if not isinstance(token, dict) or not str(at).isdigit():
            raise ModelError(f"{folder / CONFIG}: added_tokens_decoder holds {at!r}: {token!r:.60}, expected an id and "
                             "an object with content.")
        yield int(at), _token(token, special=False, where=folder)


def _token(one: Any, *, special: bool, where: Path, lstrip: bool = False) -> AddedToken:
    """An added token of its text (``lstrip`` is for that) or of an object with its settings."""
    if isinstance(one, str):
        return AddedToken(one, special=special, normalized=not special, lstrip=lstrip)
    fields = {"special": special, **{key: value for key, value in one.items() if key != "__type"}}
    if fields.keys() - _FLAGS or not isinstance(fields.pop("content", None), str):
        raise ModelError(f"{where}: the added token {one!r:.120} cannot be read; expected content and "
                         f"{', '.join(sorted(_FLAGS - {'content'}))}.")
    if not all(isinstance(value, bool) for value in fields.values()):
        raise ModelError(f"{where}: the added token {one!r:.120} cannot be read; its settings are true or false.")
    return AddedToken(one["content"], **fields)


def _marked(token: AddedToken, special: bool) -> AddedToken:
    token.special = special
    return token


def _same(token: AddedToken) -> tuple[Any, ...]:
    return token.content, token.single_word, token.lstrip, token.rstrip, token.normalized, token.special
