"""The one rule for all bodies: unknown fields are refused, null is left out, and what is wrong is said in a sentence.

A body is JSON, read by :func:`parsed`, and a :class:`Body`, checked by pydantic, whose errors :func:`sentence` puts
into words. What pydantic would say of a union or of an unknown field is said here before it, by raising InvalidBody.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, model_validator

from bertpass.errors import nearest
from bertpass.serving.failures import InvalidBody, Unreadable

#: characters of a client's own words that a sentence repeats
_SHOWN = 60

#: fields that other servers and clients have and no route here: what to do instead
ELSEWHERE = {
    **dict.fromkeys(("truncate_prompt_tokens", "truncation", "max_length", "max_tokens_per_doc"),
                    'texts are cut to the length of the model and to no other; send "truncate": true.'),
    **dict.fromkeys(("input_type", "task", "task_type", "text_type"),
                    "what a text is for is said by prompt_name, where the model has prompts."),
    **dict.fromkeys(("embedding_types", "embedding_type", "output_dtype", "precision"),
                    "/embed and /v1/embeddings take output_dtype: float, binary or ubinary."),
    **dict.fromkeys(("priority", "timeout"), "requests are computed in a fair order, within --queue_timeout."),
    **dict.fromkeys(("sequence_id", "sequence_start", "sequence_end"),
                    "a model here keeps nothing from one request to the next."),
    **dict.fromkeys(("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"),
                    "tensors come in the body; there is no shared memory."),
    "padding": "no padding is computed here.",
    "batch_size": "the server makes the batches; --max_batch_tokens sizes them.",
    "stride": "texts of any length are read whole, in parts cut at words.",
    "ignore_labels": "entities of every label but O are given.",
    "max_seq_len": "the parts of a context have the length of the model.",
    "doc_stride": "the server decides how far the parts of a context overlap.",
    "max_question_len": "a question may have 64 tokens.",
    "classification": "ask for the output 'scores', which has the score of every label.",
    "documents": "this route calls them texts; /v1/rerank takes documents.",
    "return_documents": "this route calls it return_text; /v1/rerank takes return_documents.",
    "late_chunking": "every text is embedded for itself.",
    "max_chunks_per_doc": "a passage is one text; send parts as passages of their own.",
    "rank_fields": "send passages as texts.",
    "stream": "an answer comes whole.",
}

B = TypeVar("B", bound=BaseModel)


class Body(BaseModel):
    """A JSON object: no fields but those of the class, of just their types; null is as if left out."""

    model_config = ConfigDict(extra="forbid", strict=True,
                              json_schema_extra=lambda schema: nullable(schema))

    @model_validator(mode="before")
    @classmethod
    def _rule(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        for name in given:
            if name not in cls.model_fields:
                raise InvalidBody(unknown_field(str(name), cls.model_fields), str(name))
        return {name: value for name, value in given.items()
                if value is not None or cls.model_fields[name].is_required()}


def nullable(schema: dict[str, Any]) -> None:
    """Let every field of an object's schema be null that need not be there."""
    for name, field in schema.get("properties", {}).items():
        if name not in schema.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()):
            title = {"title": field.pop("title")} if "title" in field else {}
            told = {key: field.pop(key) for key in ("default", "description") if key in field}
            kinds = field.pop("anyOf", None) or [dict(field)]
            field.clear()
            field.update({"anyOf": [*kinds, {"type": "null"}], **told, **title})


def unknown_field(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The sentence for a field that is not there."""
    what = f"unknown field '{shown(name)}'"
    if name in ELSEWHERE:
        return f"{what}: {ELSEWHERE[name]}"
    return f"{what}.{nearest(name[:_SHOWN], known)} Known: {', '.join(known)}."


def shown(words: str) -> str:
    """A client's words, short and on one line."""
    line = "".join(each if each.isprintable() else "?" for each in words[:_SHOWN])
    return line + ("..." if len(words) > _SHOWN else "")


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    for kinds, words in ((type(None), "null"), (bool, "true or false"), ((int, float), "a number"), (str, "a text"),
                         (Mapping, "an object")):
        if isinstance(value, kinds):  # type: ignore[arg-type]
            return words
    return "a list"


# -- types of fields ---------------------------------------------------------------------------------------------------

def token_ids(name: str) -> InvalidBody:
    """What to do instead of sending ids: those of another vocabulary would give a wrong answer."""
    also = "" if name != "input" else " (langchain-openai: check_embedding_ctx_length=False)"
    return InvalidBody(f"{name} holds token ids, and this route takes texts{also}; ids of the model's own vocabulary "
                       "go to /v2/models/NAME/infer.", name)


def _texts(value: Any, info: ValidationInfo) -> Any:
    name = info.field_name or "inputs"
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise InvalidBody(f"{name} must be a text or a list of texts, and is {kind_of(value)}.", name)
    if is_ids(value):
        raise token_ids(name)
    for at, each in enumerate(value, 1):
        if not isinstance(each, str):
            raise InvalidBody(f"{name} must be a text or a list of texts; item {at} is {kind_of(each)}.", name)
    return value


def pair_rows(value: Any, info: ValidationInfo) -> Any:
    """A text, a row of one or two texts, or a list of such rows; a sentence where it is none."""
    name = info.field_name or "inputs"
    if isinstance(value, str) or value == []:
        return value
    if not isinstance(value, list):
        raise InvalidBody(f"{name} must be a text, a pair of texts, or a list of pairs, and is {kind_of(value)}.", name)
    if is_ids(value):
        raise token_ids(name)
    if isinstance(value[0], str):
        for at, each in enumerate(value, 1):
            if not isinstance(each, str):
                raise InvalidBody(f"{name} must be texts alone, or lists of one or two texts alone; item {at} is "
                                  f"{kind_of(each)}.", name)
        if len(value) > 2:
            raise InvalidBody(f"{name} has {len(value)} texts in one list, which is one text or one pair; for a batch "
                              'send a list of lists: [["a"], ["b"], ["c"]].', name)
        return value
    for at, row in enumerate(value, 1):
        if not isinstance(row, list):
            raise InvalidBody(f"{name} must be texts alone, or lists of one or two texts alone; item {at} is "
                              f"{kind_of(row)}.", name)
        if not all(isinstance(each, str) for each in row):
            wrong = next(each for each in row if not isinstance(each, str))
            raise InvalidBody(f"item {at} of {name} must be one or two texts, and holds {kind_of(wrong)}.", name)
        if len(row) != len(value[0]) or not 1 <= len(row) <= 2:
            raise InvalidBody(f"{name} must be texts, or pairs of texts, and not a mixture; item {at} has {len(row)} "
                              "texts.", name)
    return value


def id_rows(value: Any, info: ValidationInfo) -> Any:
    """Token ids, or a list of lists of them; a sentence where it is none."""
    name = info.field_name or "ids"
    if not isinstance(value, list):
        raise InvalidBody(f"{name} must be a list of token ids, and is {kind_of(value)}.", name)
    nested = any(isinstance(each, list) for each in value)
    for at, row in enumerate(value if nested else [value], 1):
        where = f"item {at} of {name}" if nested else name
        if not isinstance(row, list):
            raise InvalidBody(f"{where} must be a list of token ids, as the others are, and is {kind_of(row)}.", name)
        for each in row:
            if type(each) is not int:
                raise InvalidBody(f"{where} must be a list of token ids, and holds {kind_of(each)}.", name)
    return value


def is_ids(value: Any) -> bool:
    """Whether a list holds whole numbers alone, or lists of such."""
    rows = value if value and all(isinstance(each, list) and each for each in value) else [value]
    return all(row and all(type(each) is int for each in row) for row in rows)


def _side(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


#: a text, or several
Texts = Annotated[str | list[str], BeforeValidator(_texts)]
#: "Left" and "Right", as text-embeddings-inference writes them, in any case
Side = Annotated[Literal["left", "right"], BeforeValidator(_side)]


# -- from bytes to a body ----------------------------------------------------------------------------------------------

_JSON = {"Expecting value": "a value is expected", "Expecting ',' delimiter": "a comma or the end is expected",
         "Expecting ':' delimiter": "a colon is expected", "Extra data": "more follows behind the end",
         "Expecting property name enclosed in double quotes": 'a name in "double quotes" is expected',
         "Illegal trailing comma before end of object": "a comma stands before the end",
         "Illegal trailing comma before end of array": "a comma stands before the end",
         "Unterminated string starting at": "a text begins and does not end",
         "Invalid control character at": "a control character stands in a text; write it with a backslash"}


def parsed(body: bytes) -> Any:
    """The JSON of a body.

    Raises
    ------
    Unreadable
        It is none; the sentence has line and column.
    """
    if not body.strip():
        raise Unreadable('the body is empty; send a JSON object, such as {"inputs": "a text"}.')
    encoding = json.detect_encoding(body)
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding.startswith("utf-8") else encoding.upper()
        raise Unreadable(f"the body is not {name}: byte {error.start + 1} does not belong to a character.") from None
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        why = _JSON.get(error.msg, "a backslash stands before a wrong character" if "escape" in error.msg
                        else "this is no JSON")
        raise Unreadable(f"the body is not JSON: line {error.lineno}, column {error.colno}: {why}.") from None
    except RecursionError:
        raise Unreadable("the body is not read: its lists or objects are nested too deeply.") from None
    except ValueError:  # of int()
        raise Unreadable("the body is not read: a number has thousands of digits.") from None


def _no_number(word: str) -> Any:
    raise Unreadable(f"the body is not JSON: {word} is no number there.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable(f"the field '{shown(twice)}' is there twice; send it once.")
    return found


def checked(cls: type[B], value: Any) -> B:
    """The body of a class; InvalidBody with a sentence where the value is none."""
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        raise sentence(error.errors()) from None


def sentence(errors: Sequence[Any], inside: int = 0) -> InvalidBody:
    """The first of pydantic's errors in words of ours; of each place ``inside`` steps are left out."""
    error = errors[0]
    kind, found, context = error["type"], error.get("input"), error.get("ctx") or {}
    steps = error["loc"][inside:]
    param = next((str(step) for step in steps if isinstance(step, str)), None)
    where = _place(steps)
    if kind == "missing":
        return InvalidBody(f"{where} is missing." if steps else "the body is empty; send a JSON object.", param)
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return InvalidBody(f"{where} must be {bound}, and is {found}.", param)
    if kind == "literal_error":
        given = f"'{shown(found)}'" if isinstance(found, str) else _number(found) or kind_of(found)
        return InvalidBody(f"{where} must be {context['expected']}, and is {given}.", param)
    if kind == "string_unicode":
        return InvalidBody(f"{where} holds half a character (a lone surrogate); write the text as UTF-8.", param)
    wanted = next((words for start, words in _WANTED.items() if kind.startswith(start)), None)
    if wanted is None:
        return InvalidBody(f"{where} is not what this route takes; /docs has its form.", param)
    given = _number(found) if isinstance(found, float) else ""
    return InvalidBody(f"{where} must be {wanted}, and is {given or kind_of(found)}.", param)


def _number(value: Any) -> str:
    return f"{value:g}" if type(value) in (int, float) and abs(value) < 1e9 else ""


_WANTED = {"bool": "true or false", "string": "a text", "int": "a whole number", "float": "a number",
           "finite": "a number", "list": "a list", "dict": "an object", "model": "an object"}


def _place(steps: Sequence[str | int]) -> str:
    """``["inputs", "sentences", 2]`` as "item 3 of inputs.sentences"."""
    words, counted = "", False
    for step in steps:
        if isinstance(step, int):
            words, counted = f"item {step + 1} of {words or 'the body'}", True
        elif counted:
            words = f"{step} of {words}"
        else:
            words = f"{words}.{step}" if words else step
    return words or "the body"
