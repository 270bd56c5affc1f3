"""Keys of the files that sentence-transformers 0.2 to 6.2 writes beside a model.

The length's file has had a name for each class of encoder: sentence_bert_config.json, sentence_roberta_config.json and
so on; all stand here as ``sentence_*_config.json``. A module's config.json stands as its class and the file.
"""

from bertpass.known_keys.key import Key, acted, nothing, refused

LENGTH_FILE = "sentence_*_config.json"
#: names of the length's file, in the order in which sentence-transformers looks for them
LENGTH_FILES = tuple(f"sentence_{name}_config.json" for name in (
    "bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"))

_ONE_TEXT = ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
             {"text": {"method": "forward", "method_output_name": "logits"}})
_TASKS = ("feature-extraction", "sequence-classification", "fill-mask")
_NAMES = ("token_embeddings", "sentence_embedding", "scores")

FILES: dict[str, dict[str, Key]] = {
    "modules.json": {
        **acted("which modules, in their order, and where their files are", "type", "path"),
        **nothing("names of the modules", "idx", "name"),
        **refused("arguments for modules of the model's own", "kwargs", fine=([],)),
    },
    LENGTH_FILE: {
        **acted("tokens to which texts are cut", "max_seq_length"),
        **acted("lower case before the tokenizer", "do_lower_case"),
        **refused("arguments of the encoder's classes", "model_args", "config_args", "model_kwargs", "config_kwargs",
                  fine=({},)),
        **refused("arguments of the tokenizer's class", "tokenizer_args", "processor_kwargs", fine=({},)),
        **refused("arguments of every call of the tokenizer", "processing_kwargs", fine=({},)),
        **refused("which of the encoder's classes", "transformer_task", fine=_TASKS),
        **refused("which of the encoder's outputs", "modality_config", fine=_ONE_TEXT),
        **refused("name of the encoder's output", "module_output_name", fine=_NAMES),
        **refused("other lengths for questions and documents", "query_length", "document_length", "query_expansion"),
        **nothing("speed on GPUs", "unpad_inputs"),
    },
    "config_sentence_transformers.json": {
        **acted("texts that are put in front", "prompts", "default_prompt_name"),
        **acted("width of the vectors", "truncate_dim"),
        **acted("activation of a cross-encoder's outputs", "activation_fn"),
        **acted("late interaction (PyLate): marks, lengths, [MASK] behind queries, tokens that are left out",
                "query_prefix", "document_prefix", "query_length", "document_length", "do_query_expansion",
                "attend_to_expansion_tokens", "skiplist_words"),
        **refused("which of the library's models", "model_type",
                  fine=("SentenceTransformer", "CrossEncoder", "SparseEncoder", "ColBERT")),
        **nothing("how vectors are compared, which is the caller's part; it is written again", "similarity_fn_name"),
        **nothing("number type of training", "keep_in_fp32_modules"),
        **nothing("where the model comes from", "__version__"),
    },
    "Pooling": {
        **acted("how a vector is made of token states", "pooling_mode", "pooling_mode_cls_token",
                "pooling_mode_mean_tokens", "pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
                "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"),
        **acted("whether a prompt's tokens count", "include_prompt"),
        **acted("width of the token states", "word_embedding_dimension", "embedding_dimension"),
    },
    "SpladePooling": {
        **acted("how the weights of words are made of every token's logits", "pooling_strategy", "activation_function"),
        **acted("number of words", "word_embedding_dimension", "embedding_dimension"),
    },
    "Dense": {
        **acted("size of the layer", "in_features", "out_features", "bias"),
        **acted("activation function", "activation_function"),
        **refused("a layer of token states", "module_input_name", "module_output_name", fine=("sentence_embedding",)),
        **refused("a layer whose input is added to its output", "use_residual", fine=(False,)),
    },
    "Normalize": {**refused("vectors of tokens", "module_input_name", "module_output_name",
                            fine=("sentence_embedding",))},
    "LayerNorm": {**acted("size of the layer", "dimension")},
    "Dropout": {**nothing("dropout of training", "dropout")},
}
