"""Looks at windows of a picture with the network of a checkpoint, on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hand_imitation.errors import UserError
from hand_imitation.policy.checkpoint import Checkpoint
from hand_imitation.policy.pixels_network import OUTPUTS, build_pixels_network, load_tensors


class Looks:
    """What the network of a checkpoint says of pictures.

    Attributes:
        size_px: Side of the pictures it takes [px].

    Args:
        checkpoint: Holds the network.

    Raises:
        UserError: It holds none.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        if 'network' not in checkpoint.layout:
            raise UserError(f"checkpoint '{checkpoint.name}' holds no network for pictures: train "
                            "one by 'hand-imitation train --policy pixels'")
        layout = checkpoint.layout['network']
        # Nothing is allocated before the weights are known to fit.
        with torch.device('meta'):
            network = build_pixels_network(layout)
        load_tensors(network, checkpoint.tensors)
        self._network = _fused(network.eval()).to(memory_format=torch.channels_last)
        self.size_px = int(layout['size_px'])

    def __call__(self, pictures: np.ndarray, mirrored: bool = True) -> np.ndarray:
        """Look at pictures.

        Args:
            pictures: Shape (n, size_px, size_px, 3), RGB, uint8.
            mirrored: Look at their mirror images too, and average.

        Returns:
            Shape (n, 58), see `pixels_network.OUTPUTS`.
        """
        shown = np.concatenate([pictures, pictures[:, :, ::-1]]) if mirrored else pictures
        with torch.inference_mode():
            found = self._network(torch.from_numpy(shown).permute(0, 3, 1, 2)).numpy()
        seen: np.ndarray = found.astype(float)
        if not mirrored:
            return seen
        return (seen[:len(pictures)] + _of_mirror_images(seen[len(pictures):])) / 2.0


def _of_mirror_images(found: np.ndarray) -> np.ndarray:
    """Turn what was said of mirror images into what holds for the pictures."""
    turned = found.copy()
    turned[:, OUTPUTS['leans']] *= -1.0
    turned[:, OUTPUTS['thumb_side']] *= -1.0
    turned[:, OUTPUTS['points']][:, ::2] *= -1.0
    return turned


def _fused(module: nn.Module) -> nn.Module:
    """Work normalisation into the convolutions before it, which saves a third of the time."""
    for name, child in module.named_children():
        if (isinstance(child, nn.Sequential) and len(child) == 2
                and isinstance(child[1], nn.BatchNorm2d)):
            setattr(module, name, fuse_conv_bn_eval(child[0], child[1]))
        else:
            _fused(child)
    return module
