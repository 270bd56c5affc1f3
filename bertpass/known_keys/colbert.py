"""Keys of artifact.metadata, which the library of ColBERT's authors writes beside a model."""

from bertpass.known_keys.key import Key, acted, nothing, refused

FILES: dict[str, dict[str, Key]] = {"artifact.metadata": {
    **acted("tokens that mark queries and documents", "query_token_id", "doc_token_id"),
    **acted("tokens of queries and documents at most", "query_maxlen", "doc_maxlen"),
    **acted("whether other tokens attend to the [MASK] tokens behind a query", "attend_to_mask_tokens"),
    **acted("whether punctuation of documents has no vectors", "mask_punctuation"),
    **acted("width of the vectors", "dim"),
    **refused("scores that are not MaxSim of cosines", "similarity", fine=("cosine",)),
    **refused("scores that are not MaxSim of cosines", "interaction", fine=("colbert",)),
    **refused("scores that are not MaxSim of cosines", "relu", fine=(False,)),
    **nothing("names of the marks for people", "query_token", "doc_token"),
    **nothing("where the model comes from", "checkpoint", "model_name", "name", "root", "experiment", "meta", "triples",
              "collection", "queries"),
    **nothing("training", "bsize", "accumsteps", "lr", "maxsteps", "save_every", "resume", "warmup", "warmup_bert",
              "nway", "use_ib_negatives", "reranker", "distillation_alpha", "ignore_scores", "rank", "nranks", "amp",
              "gpus", "overwrite", "avoid_fork_if_possible"),
    **nothing("indexes and search in them", "index_root", "index_name", "index_path", "index_bsize", "nbits",
              "kmeans_niters", "ncells", "centroid_score_threshold", "ndocs", "load_index_with_mmap"),
}}
