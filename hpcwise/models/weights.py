"""Files of weights that cannot be read: torn, of another kind, of another network."""

from __future__ import annotations

import pickle
from typing import Final

from safetensors import SafetensorError

#: What torch, safetensors and transformers raise for them: a torn pickle fails wherever it is torn.
UNREADABLE: Final = (
    OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError,
    pickle.UnpicklingError, SafetensorError,
)  # fmt: skip


def why(error: BaseException) -> str:
    """The first line of what a library says, or the error's own name where it says nothing."""
    said = str(error).strip()
    if isinstance(error, EOFError | LookupError | AttributeError | TypeError) or not said:
        return f"is torn or holds something else ({type(error).__name__})"
    return said.splitlines()[0]
