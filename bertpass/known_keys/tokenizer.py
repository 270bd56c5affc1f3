"""Keys of the tokenizer's files: tokenizer_config.json, special_tokens_map.json, added_tokens.json, tokenizer.json."""

from bertpass.known_keys.key import Key

FILES: dict[str, dict[str, Key]] = {}
