"""Models of the Hugging Face hub: downloaded, or taken from the hub's own cache; quick to say that neither is there."""

from __future__ import annotations

from pathlib import Path

from bertpass.errors import DownloadError, MissingDependencyError
from bertpass.model.huggingface import CONFIG

_FILES = [CONFIG, "*.safetensors", "*.safetensors.index.json", "tokenizer*.json", "vocab.*", "merges.txt",
          "special_tokens_map.json", "modules.json", "sentence_bert_config.json", "1_Pooling/*"]
_PICKLES = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_ANSWER_SECONDS = 5


def download(name: str, ways_out: str, allow_pickle: bool = False) -> Path:
    """The folder of the hub's model ``name`` ("organisation/name") on this machine.

    Parameters
    ----------
    ways_out : what else a person can do, for the end of the error's sentence
    allow_pickle : fetch weights in PyTorch's pickles as well

    Raises
    ------
    DownloadError
        The hub does not have it, or does not answer and the model was not downloaded before.
    MissingDependencyError
        The package huggingface_hub is not installed.
    """
    try:
        import huggingface_hub
        from huggingface_hub.utils import get_session
    except ImportError as error:
        raise MissingDependencyError("huggingface_hub is not installed; install it with: "
                                     "pip install huggingface_hub.") from error
    # The client itself would try again for half a minute, so one question is asked first.
    refusal: object = None
    try:
        answer = get_session().head(huggingface_hub.hf_hub_url(name, CONFIG), timeout=_ANSWER_SECONDS)
        if answer.status_code >= 400:
            refusal = f"the hub answers {answer.status_code}"
    except Exception as error:  # the client passes on whatever its HTTP library raises
        refusal = f"the hub does not answer ({type(error).__name__})"
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_FILES + _PICKLES * allow_pickle,
                                                      local_files_only=refusal is not None))
    except Exception as error:
        reason = refusal or f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        raise DownloadError(f"'{name}' is not on this machine and cannot be downloaded: {reason}; {ways_out}"
                            ) from error
