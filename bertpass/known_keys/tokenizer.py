"""Keys of the tokenizer's files: tokenizer_config.json, special_tokens_map.json, added_tokens.json, tokenizer.json.

added_tokens.json has no keys of its own: it is tokens and their ids, which are acted on.
"""

from bertpass.known_keys.key import Key, acted, nothing, refused

_TOKENS = {
    **acted("what that token is called", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
    **acted("marks that text as a token of its own, where the vocabulary has it", "bos_token", "eos_token"),
    **acted("texts that are one token wherever they stand", "additional_special_tokens", "extra_special_tokens"),
}

FILES: dict[str, dict[str, Key]] = {
    "tokenizer_config.json": {
        **_TOKENS,
        **acted("defaults of BERT's, ALBERT's, DeBERTa's, RoBERTa's, XLM-R's, CamemBERT's or HerBERT's tokenizers; "
                "another class is refused", "tokenizer_class"),
        **acted("BERT's normaliser", "do_lower_case", "strip_accents", "tokenize_chinese_chars"),
        **acted("how byte-level BPE treats the space before a word", "add_prefix_space", "trim_offsets"),
        **acted("tokens beside the vocabulary, with special, lstrip, rstrip, single_word and normalized",
                "added_tokens_decoder"),
        **acted("whether special tokens that stand in a text are split like any other characters",
                "split_special_tokens"),
        **acted("tokens to which texts are cut, where the model's positions allow it", "model_max_length", "max_len"),
        **acted("the end at which longer texts are cut", "truncation_side"),
        **acted("whether the second of two texts has token type 1", "model_input_names"),
        **refused("a tokenizer of the author's own code", "auto_map", fine=({},)),
        **refused("a splitter of Japanese words", "word_tokenizer_type", fine=("basic",)),
        **refused("another splitter than WordPiece", "subword_tokenizer_type", fine=("wordpiece",)),
        **refused("words that are not split as BERT does", "do_subword_tokenize", "do_word_tokenize", fine=(True,)),
        **refused("a splitter of Japanese words", "mecab_kwargs", "sudachi_kwargs", "jumanpp_kwargs"),
        **nothing("padding, which is not computed or masked", "padding_side", "pad_token_type_id", "pad_token_id",
                  "pad_to_multiple_of"),
        **nothing("left over from a stored truncation; transformers' callers give their own", "max_length", "stride",
                  "truncation_strategy"),
        **nothing("the fast tokenizers do not read it", "do_basic_tokenize", "never_split"),
        **nothing("the fast tokenizers read it from tokenizer.json", "wordpieces_prefix", "clean_text",
                  "remove_space", "keep_accents", "split_by_punct", "vocab_type"),
        **nothing("the post-processor says it", "add_bos_token", "add_eos_token"),
        **nothing("decoding alone", "clean_up_tokenization_spaces", "errors"),
        **nothing("chats, images and sound", "chat_template", "processor_class"),
        **nothing("SentencePiece", "legacy", "sp_model_kwargs"),
        **nothing("where the files come from and how they were opened", "name_or_path", "special_tokens_map_file",
                  "tokenizer_file", "vocab_file", "merges_file", "from_slow", "use_fast", "backend", "is_local",
                  "local_files_only", "transformers_version"),
    },
    "special_tokens_map.json": _TOKENS,
    "tokenizer.json": {
        **acted("direction at which texts are cut; length and stride are the caller's", "truncation"),
        **acted("tokens beside the vocabulary, with special, lstrip, rstrip, single_word and normalized",
                "added_tokens"),
        **acted("any, as the tokenizers library computes it", "normalizer", "pre_tokenizer"),
        **acted("special tokens and token types of a row: TemplateProcessing, BertProcessing or RobertaProcessing; one "
                "that adds no token is refused", "post_processor"),
        **acted("WordPiece, BPE, Unigram and WordLevel with all their settings; a dropout is refused", "model"),
        **acted("decoding", "decoder"),
        **nothing("padding, which is not computed or masked", "padding"),
        **nothing("version of the file's form", "version"),
    },
}
