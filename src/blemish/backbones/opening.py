"""Open a backbone by name: a registered one, or any model that timm knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from blemish import registry
from blemish.backbones.base import Arrays, Backbone


def open_backbone(
    name: str,
    weights: str | None,
    strides: tuple[int, ...],
    layers: tuple[int, ...] = (),
    margin: int = 2,
) -> Backbone:
    """Open a backbone.

    Args:
        name: A registered name such as ``"filter_bank"``, or the name of a timm model.
        weights: A local .safetensors or .pth file; ``"random"`` (seeded, for timing);
            ``"download"`` to let timm fetch its own. None for a backbone without weights.
        strides: Which feature maps; empty = the backbone's default.
        layers: Which blocks of a transformer, in place of strides. A registered backbone that has
            blocks has a class method ``open_layers(name, weights, layers)`` beside ``open``.
        margin: Cells by which the image is continued beyond its border before a network sees it.

    Raises:
        OptionError: No such stride, or weights are missing or do not fit.
        MissingExtraError: A timm model without the extra [train].
    """
    if name in registry.names("backbones"):
        kind = registry.get("backbones", name)
        if layers and hasattr(kind, "open_layers"):
            return cast(Backbone, kind.open_layers(name, weights, layers))
        return cast(Backbone, kind.open(name, weights, strides))
    if layers:
        tokens = registry.get("backbones", "timm_tokens")
        return cast(Backbone, tokens.open(name, weights, layers))
    timm_features = registry.get("backbones", "timm_features")
    return cast(Backbone, timm_features.open(name, weights, strides, margin))


def images_seen(name: str, weights: str | None) -> tuple[str, ...]:
    """Digests of the images that the weights of a backbone were learned from.

    Empty where nobody knows: only files of `blemish pretrain` say so. A registered backbone that
    reads such files has a class method ``images_seen(weights)``.

    Args:
        name: As for :func:`open_backbone`.
        weights: As for :func:`open_backbone`.
    """
    if name not in registry.names("backbones"):
        return ()
    seen = getattr(registry.get("backbones", name), "images_seen", None)
    return tuple(seen(weights)) if seen else ()


def restore_backbone(header: Mapping[str, Any], arrays: Arrays) -> Backbone:
    """Open a backbone from what :meth:`Backbone.state` gave; needs no file and no network."""
    return cast(Backbone, registry.get("backbones", header["kind"]).from_state(header, arrays))
