"""The network of the `pixels` policy: what it takes, what it says, and how it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hand_imitation.human.angles import HAND_JOINTS

NETWORK_VERSION = 1
"""Raised when `OUTPUTS` or the network change."""
OUTPUTS = {
    'fingers': slice(0, len(HAND_JOINTS)),
    'leans': slice(10, 12),
    'forearm': slice(12, 14),
    'thumb_side': slice(14, 15),
    'detected': slice(15, 16),
    'points': slice(16, 58),
}
"""What each output column says. `fingers`: the angles of `HAND_JOINTS` [rad]. `leans`: wrist and
elbow as leans in the image, clockwise positive [rad]. `forearm`: whether each of them can be told,
as logits. `thumb_side`: whether the thumb lies clockwise of the palm, as a logit. `detected`:
whether a hand fills the picture, as a logit. `points`: the 21 landmarks, x and y, in sides of the
picture from its middle."""
_COUNT = 58
_SQUEEZED = 64


def default_layout(size_px: int = 96) -> dict[str, Any]:
    """Give the layout of the network that ships.

    Args:
        size_px: Side of the picture it looks at [px].
    """
    return {'version': NETWORK_VERSION, 'size_px': size_px, 'channels': [32, 64, 96, 160],
            'blocks': [1, 2, 2], 'hidden': 256}


def build_pixels_network(layout: Mapping[str, Any]) -> PixelsNetwork:
    """Build the network that a layout describes, with random weights.

    Args:
        layout: As `default_layout` gives it.

    Raises:
        ValueError: The layout is of another version or out of bounds.
    """
    if layout['version'] != NETWORK_VERSION:
        raise ValueError(f'network version {layout["version"]}, not {NETWORK_VERSION}')
    channels = [int(number) for number in layout['channels']]
    blocks = [int(number) for number in layout['blocks']]
    size_px, hidden = int(layout['size_px']), int(layout['hidden'])
    if not (16 <= size_px <= 256 and size_px % 2 == 0 and len(channels) == len(blocks) + 1
            and 1 <= len(blocks) <= 5 and all(1 <= number <= 1024 for number in channels)
            and all(0 <= number <= 8 for number in blocks) and 1 <= hidden <= 4096):
        raise ValueError('the layout is out of bounds')
    return PixelsNetwork(size_px, channels, blocks, hidden)


class PixelsNetwork(nn.Module):
    """A small residual network from a square picture to `OUTPUTS`.

    Args:
        size_px: Side of the picture [px], even.
        channels: Of the first layer, at half the resolution, and of each stage after it, which
            halves it again.
        blocks: Residual blocks of each stage.
        hidden: Width of the layer before the last.
    """

    def __init__(self, size_px: int, channels: Sequence[int], blocks: Sequence[int],
                 hidden: int) -> None:
        super().__init__()
        self.size_px = size_px
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), _convolution(12, channels[0]),
                                   nn.ReLU(inplace=True)]
        side = size_px // 2
        for (before, after), count in zip(pairwise(channels), blocks, strict=True):
            layers += [_convolution(before, after, stride=2), nn.ReLU(inplace=True)]
            layers += [_Residual(after) for _ in range(count)]
            side = (side + 1) // 2
        layers += [nn.Conv2d(channels[-1], _SQUEEZED, 1), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.1), nn.Linear(_SQUEEZED * side * side, hidden),
            nn.ReLU(inplace=True), nn.Linear(hidden, _COUNT))

    def forward(self, pictures: Tensor) -> Tensor:
        """Look at pictures.

        Args:
            pictures: Shape (n, 3, size_px, size_px), RGB, uint8, or floats from 0 to 255.

        Returns:
            Shape (n, 58), see `OUTPUTS`.
        """
        centred = (pictures.float() - 127.5) / 64.0
        out: Tensor = self.head(self.body(
            centred.contiguous(memory_format=torch.channels_last))).float()
        return out


class _Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, values: Tensor) -> Tensor:
        """Apply it."""
        return torch.relu(values + self.second(torch.relu(self.first(values))))


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False),
                         nn.BatchNorm2d(after))


def network_tensors(network: PixelsNetwork) -> dict[str, np.ndarray]:
    """Give the weights as a checkpoint holds them.

    Args:
        network: The network.
    """
    return {name: values.detach().cpu().numpy().astype(np.float32)
            for name, values in network.state_dict().items()
            if not name.endswith('num_batches_tracked')}


def load_tensors(network: PixelsNetwork, tensors: Mapping[str, np.ndarray]) -> None:
    """Put weights of a checkpoint into a network.

    Args:
        network: The network, built of the checkpoint's layout, perhaps on the meta device.
        tensors: As `network_tensors` gives them.

    Raises:
        RuntimeError: Some are missing, of another shape, or not the network's.
    """
    state = {name: torch.from_numpy(np.array(values)) for name, values in tensors.items()}
    counters = {name: torch.zeros((), dtype=torch.long) for name in network.state_dict()
                if name.endswith('num_batches_tracked')}
    network.load_state_dict({**counters, **state}, assign=True)
