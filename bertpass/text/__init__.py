"""Text level: tokenizer, tasks, data files, batches, metrics, SQuAD. No framework is imported here."""
