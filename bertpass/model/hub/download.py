"""Models of the Hugging Face hub: downloaded, or taken from the hub's own cache; quick to say that neither is there."""

from __future__ import annotations

from pathlib import Path

from bertpass.errors import DownloadError, MissingDependencyError
from bertpass.model.layouts.huggingface import FILES, PICKLES

_ANSWER_SECONDS = 5
_REFUSED = {401: "it is private or not there; give a token in HF_TOKEN, or log in with: hf auth login",
            403: "your token may not read it; ask for access on its page",
            404: "there is no such model"}


def download(name: str, ways_out: str, allow_pickle: bool = False) -> Path:
    """The folder of the hub's model ``name`` ("organisation/name") on this machine.

    Every request has the same token: the one of HF_TOKEN, or of the hub's own login.

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
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, get_session
    except ImportError as error:
        raise MissingDependencyError("huggingface_hub is not installed; install it with: "
                                     "pip install huggingface_hub.") from error
    # The client itself would try again for half a minute, so one question is asked first.
    refusal = ""
    endpoint = constants.ENDPOINT.strip().rstrip("/")  # a variable that a file gave often ends with a line break
    try:
        answer = get_session().get(f"{endpoint}/api/models/{name}", headers=build_hf_headers(),
                                   timeout=_ANSWER_SECONDS)
        if answer.status_code >= 400:
            refusal = _answered(answer.status_code)
    except Exception as error:  # the client passes on whatever its HTTP library raises
        refusal = f"the hub does not answer ({type(error).__name__})"
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=[*FILES, *PICKLES * allow_pickle],
                                                      local_files_only=bool(refusal), endpoint=endpoint))
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = refusal or (_answered(status) if status is not None else
                             f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
        raise DownloadError(f"'{name}' is not on this machine and cannot be downloaded: {reason}; {ways_out}"
                            ) from error


def _answered(status: int) -> str:
    return f"the hub answers {status}" + (f" ({_REFUSED[status]})" if status in _REFUSED else "")
