"""Texts as tokens: tokenizers, their files and vocabularies, rows and batches."""
