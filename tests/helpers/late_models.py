"""Folders as PyLate saves them, and their vectors by transformers and the definition of ColBERT (arXiv:2004.12832)."""

import json

import pytest

from tests.helpers.tiny_models import VOCAB, torch_model, write_vocab

REASON = "pip install 'bertpass[reference]' to compare with transformers"
torch = pytest.importorskip("torch", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)
SETTINGS = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 12, "document_length": 15,
            "attend_to_expansion_tokens": True, "do_query_expansion": True, "skiplist_words": [".", ",", ";"]}


def folder_of(path, family="bert", layers=((24, 8, False),), activation="torch.nn.modules.linear.Identity", **settings):
    """A folder as PyLate 1.6 with sentence-transformers 5.3 saves it."""
    from safetensors.torch import save_file

    write_vocab(path / "vocabulary")
    kind = transformers.DistilBertTokenizerFast if family == "distilbert" else transformers.BertTokenizerFast
    tokenizer = kind(vocab_file=str(path / "vocabulary" / "vocab.txt"))
    tokenizer.add_tokens(["[Q] ", "[D] "])
    tokenizer.save_pretrained(path)
    torch_model(family, "Model", vocab_size=VOCAB + 2).save_pretrained(path)
    torch.manual_seed(4)
    modules = [("", "sentence_transformers.models.Transformer")]
    for at, (inputs, outputs, bias) in enumerate(layers, 1):
        place = path / f"{at}_Dense"
        place.mkdir()
        arrays = {"linear.weight": torch.randn(outputs, inputs)}
        arrays |= {"linear.bias": torch.randn(outputs)} if bias else {}
        save_file(arrays, place / "model.safetensors")
        (place / "config.json").write_text(json.dumps({
            "in_features": inputs, "out_features": outputs, "bias": bias, "use_residual": False,
            "activation_function": activation}))
        modules.append((place.name, "pylate.models.Dense.Dense"))
    (path / "modules.json").write_text(json.dumps([
        {"idx": at, "name": str(at), "path": place, "type": kind} for at, (place, kind) in enumerate(modules)]))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 14, "do_lower_case": False}))
    (path / "config_sentence_transformers.json").write_text(json.dumps({
        "model_type": "ColBERT", "__version__": {"sentence_transformers": "5.3.0", "transformers": "4.57.6",
                                                 "pytorch": "2.10.0"},
        "prompts": {"query": "", "document": ""}, "default_prompt_name": None, "similarity_fn_name": "MaxSim",
        **SETTINGS, **settings}))
    return path


def stanford_folder_of(path, **settings):
    """A folder as the library of ColBERT's authors saves it: the layer among BERT's tensors, artifact.metadata."""
    from safetensors.torch import load_file, save_file

    path.mkdir()
    marks = ["[unused0]", "[unused1]"]
    write_vocab(path / "vocabulary")
    words = (path / "vocabulary" / "vocab.txt").read_text().splitlines()
    (path / "vocabulary" / "vocab.txt").write_text("\n".join([words[0], *marks, *words[1:]]) + "\n")
    transformers.BertTokenizerFast(vocab_file=str(path / "vocabulary" / "vocab.txt")).save_pretrained(path)
    torch_model("bert", "Model", vocab_size=VOCAB + 2).save_pretrained(path)
    torch.manual_seed(4)
    arrays = {f"bert.{name}": array for name, array in load_file(path / "model.safetensors").items()}
    save_file({**arrays, "linear.weight": torch.randn(8, 24)}, path / "model.safetensors")
    content = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**content, "architectures": ["HF_ColBERT"]}))
    (path / "artifact.metadata").write_text(json.dumps({
        "query_token_id": marks[0], "doc_token_id": marks[1], "query_token": "[Q]", "doc_token": "[D]", "ncells": None,
        "centroid_score_threshold": None, "ndocs": None, "index_path": None, "nbits": 1, "kmeans_niters": 20,
        "resume": False, "similarity": "cosine", "bsize": 8, "accumsteps": 1, "lr": 1e-05, "maxsteps": 400000,
        "save_every": None, "warmup": 20000, "warmup_bert": None, "relu": False, "nway": 64, "use_ib_negatives": True,
        "reranker": False, "distillation_alpha": 1.0, "ignore_scores": False, "model_name": None, "query_maxlen": 12,
        "attend_to_mask_tokens": False, "interaction": "colbert", "dim": 8, "doc_maxlen": 15, "mask_punctuation": True,
        "checkpoint": "/x", "triples": "/x", "collection": "/x", "queries": "/x", "index_name": None,
        "overwrite": False, "root": "/x", "experiment": "x", "index_root": None, "name": "x",
        "rank": 0, "nranks": 4, "amp": True, "gpus": 8, **settings}))
    return path


def stanford_right(path, texts, is_query):
    """The vectors as that library makes them: a full stop before the text whose token the mark replaces, queries
    filled up with padding that becomes [MASK], punctuation of documents left out."""
    import string

    from safetensors.torch import load_file

    said = json.loads((path / "artifact.metadata").read_text())
    arrays = load_file(path / "model.safetensors")
    model = transformers.BertModel.from_pretrained(path, add_pooling_layer=False).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    mark, length = (said["query_token_id"], said["query_maxlen"]) if is_query else (said["doc_token_id"],
                                                                                   said["doc_maxlen"])
    batch = tokenizer([". " + text for text in texts], padding="max_length" if is_query else "longest", truncation=True,
                      max_length=length, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    ids[:, 1] = tokenizer.convert_tokens_to_ids(mark)
    if is_query:
        ids[ids == tokenizer.pad_token_id] = tokenizer.mask_token_id
        mask = torch.ones_like(mask) if said["attend_to_mask_tokens"] else mask
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(model(ids, attention_mask=mask)[0] @ arrays["linear.weight"].T, dim=2)
    skipped = {tokenizer.pad_token_id}
    if not is_query and said["mask_punctuation"]:
        skipped |= {tokenizer.encode(symbol, add_special_tokens=False)[0] for symbol in string.punctuation}
    return [one[[token.item() not in skipped for token in row]].numpy() for one, row in zip(vectors, ids, strict=True)]


def right(path, texts, is_query, normalize=True):
    """The vectors of each text's tokens, by transformers."""
    from safetensors.torch import load_file

    said = json.loads((path / "config_sentence_transformers.json").read_text())
    model = transformers.AutoModel.from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    mark, length = (said["query_prefix"], said["query_length"]) if is_query else (said["document_prefix"],
                                                                                 said["document_length"])
    found = []
    for text in texts:
        ids = tokenizer(text.strip(), truncation=True, max_length=length - bool(mark))["input_ids"]
        ids = [*ids[:1], *([tokenizer.convert_tokens_to_ids(mark)] if mark else []), *ids[1:]]
        own = len(ids)
        if is_query and said["do_query_expansion"]:
            ids += [tokenizer.mask_token_id] * (length - own)
        seen = len(ids) if said["attend_to_expansion_tokens"] else own
        with torch.no_grad():
            x = model(torch.tensor([ids]), attention_mask=(torch.arange(len(ids)) < seen)[None].long())[0][0]
        for place in sorted(path.glob("*_Dense")):
            arrays = load_file(place / "model.safetensors")
            x = torch.nn.functional.linear(x, arrays["linear.weight"], arrays.get("linear.bias"))
        if not is_query:
            skipped = {tokenizer.convert_tokens_to_ids(word) for word in said["skiplist_words"]}
            x = x[[one not in skipped for one in ids]]
        found.append((torch.nn.functional.normalize(x, dim=1) if normalize else x).numpy())
    return found
