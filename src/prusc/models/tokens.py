"""The tokenizer in the folder of a network of text."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from prusc.errors import ConfigError, ModelError
from prusc.models.model_folders import LOCAL_PREFIX, read_folder_config


def load_tokenizer(name: str, num_tokens: int) -> Callable[[list[str]], dict[str, Tensor]]:
    """Return a function that tokenizes texts as the folder of a network says, padded to the longest of them.

    Args:
        name: ``local-dir:FOLDER``.
        num_tokens: Longer texts are cut to this number of tokens.

    Raises:
        ConfigError: If the folder or the package is missing, or the name is of another network.
        ModelError: If the folder holds no tokenizer.
    """
    if not name.startswith(LOCAL_PREFIX):
        raise ConfigError(
            f"text needs a network with a tokenizer, and model is {name!r}; expected {LOCAL_PREFIX}FOLDER, a folder "
            "that save_pretrained wrote"
        )
    read_folder_config(name)
    folder = Path(name.removeprefix(LOCAL_PREFIX))
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ConfigError(
            "text needs the package transformers, which is not installed: pip install prusc[text]"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises errors of many types.
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise ModelError(
            f"model {name!r}: the tokenizer cannot be read ({reason}); save it there: tokenizer.save_pretrained"
        ) from error

    def tokenize(texts: list[str]) -> dict[str, Tensor]:
        encoded = tokenizer(texts, padding="longest", truncation=True, max_length=num_tokens, return_tensors="pt")
        return dict(encoded)

    return tokenize
