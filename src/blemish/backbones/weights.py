"""Weights of networks from local files: read without running code, and loaded only if they fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blemish.errors import MissingExtraError, OptionError

try:
    import torch
    from safetensors.torch import load_file
except ImportError as error:
    raise MissingExtraError("A timm backbone", "train") from error


def need_weights(name: str, weights: str | None) -> str:
    """The weights that were named.

    Raises:
        OptionError: None were; nothing is downloaded unasked.
    """
    if weights is None:
        raise OptionError(
            f"The backbone {name} needs weights=FILE (a local .safetensors or .pth), "
            "weights=download to let timm fetch its own, or weights=random; "
            "backbone=filter_bank needs none."
        )
    return weights


def load_weights(network: Any, name: str, tensors: Mapping[str, Any], path: str) -> None:
    """Give a network its weights; `tensors` may hold more than it needs.

    Args:
        network: Changed in place.
        name: What the network is called, for messages.
        tensors: Name to tensor.
        path: Where they came from, for messages.

    Raises:
        OptionError: Weights are missing, or have other shapes.
    """
    # Counters of training steps are not weights; many files leave them out.
    wanted = {k: v for k, v in network.state_dict().items() if not k.endswith("batches_tracked")}
    missing = sorted(set(wanted) - set(tensors))
    if missing:
        raise OptionError(
            f"{path} lacks {len(missing)} of the {len(wanted)} weights that {name} needs at these "
            f"strides or blocks, the first is {missing[0]}. Ask for others, or use other weights."
        )
    wrong = [k for k in wanted if tensors[k].shape != wanted[k].shape]
    if wrong:
        raise OptionError(
            f"{path} does not fit {name}: {wrong[0]} has the shape {tuple(tensors[wrong[0]].shape)}"
            f", {tuple(wanted[wrong[0]].shape)} is needed."
        )
    network.load_state_dict({**network.state_dict(), **{k: tensors[k] for k in wanted}})


def read_weights(path: Path) -> Mapping[str, Any]:
    """Read a .safetensors or .pth file.

    Raises:
        OptionError: It is missing, truncated, holds no weights, or would run code.
    """
    if not path.is_file():
        raise OptionError(f"There is no weights file {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        tensors: Mapping[str, Any] = content.get("state_dict", content.get("model", content))
    except Exception as error:  # a damaged or hostile .pth file can raise anything
        reason = str(error).partition("\n")[0]
        raise OptionError(
            f"{path} holds no weights, is truncated, or would run code ({reason}). Save the plain "
            "weights again, best as .safetensors."
        ) from error
    # What else a training run may have stored beside them is not of interest.
    return {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}
