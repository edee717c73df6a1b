"""What the networks of the `landmarks` policy take, and the networks themselves.

At inference everything is numpy: for networks this small that is faster than PyTorch, and the
policy runs where PyTorch is not installed. Training uses the same features, and `build_mlp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hand_imitation.human.angles import HAND_JOINTS
from hand_imitation.policy.checkpoint import Checkpoint

FEATURES = 145
"""Numbers that `landmark_features` makes of a hand."""
LOG_LENGTHS = slice(115, 135)
"""Which of them are logarithms of the lengths of bones."""
ESTIMATES = (*HAND_JOINTS, 'wrist_correction', 'elbow_correction', 'thumb_side')
"""What the estimate says: angles of thumb and fingers [rad]; what to add to the leans of wrist
and elbow that the formulas give [rad]; and whether the thumb lies clockwise of the palm in the
image, as a logit. The last three are of a right hand: those of a left one have the other sign."""
ESTIMATE_VERSION = 1
"""Raised when `landmark_features` or `ESTIMATES` change."""

_KNUCKLES = np.array([5, 9, 13, 17])
_TINY = 1e-6


def landmark_features(
    world_points: np.ndarray, image_points: np.ndarray, right: np.ndarray, score: np.ndarray,
    forearm: np.ndarray, forearm_seen: np.ndarray,
) -> np.ndarray:
    """Describe hands by numbers that do not depend on their place, size, side and roll.

    Left hands are mirrored. World points are taken from the wrist, in lengths of the palm, and
    image points likewise in lengths of the whole hand; both are turned in the image plane until
    the knuckles lie above the wrist. Then come how each bone continues the one before, lengths of
    bones, and how palm and forearm lean.

    Args:
        world_points: Shape (m, 21, 3), optical frame.
        image_points: Shape (m, 21, 2) [px].
        right: Shape (m,), bool: right hands, as the landmarker says.
        score: Shape (m,), its confidence.
        forearm: Shape (m, 2), unit image vector from elbow to wrist, NaN where there is none.
        forearm_seen: Shape (m,), bool: the forearm was seen, the palm does not stand in for it.

    Returns:
        Shape (m, FEATURES), float32.
    """
    count = len(world_points)
    mirror = np.where(right, 1.0, -1.0)[:, np.newaxis]
    world = world_points - world_points[:, :1]
    world[..., 0] *= mirror
    # `take` is several times quicker than an index in brackets.
    knuckles = world.take(_KNUCKLES, axis=1)
    palm = np.sqrt(np.einsum('mki,mki->mk', knuckles, knuckles)).sum(axis=1) / 4.0
    world /= np.maximum(palm, _TINY)[:, np.newaxis, np.newaxis]
    ends = world[:, 1:].reshape(count, 5, 4, 3)
    bones = ends.copy()
    bones[:, :, 1:] -= ends[:, :, :-1]
    lengths = np.sqrt(np.einsum('mfki,mfki->mfk', bones, bones))
    np.maximum(lengths, 1e-3, out=lengths)
    bones /= lengths[..., np.newaxis]
    continued = np.einsum('mfki,mfki->mfk', bones[:, :, 1:], bones[:, :, :-1])

    # In a plane points are complex numbers, x + iy: to turn them is to multiply.
    planes = np.empty((count, 2, 21), dtype=complex)
    image = image_points - image_points[:, :1]
    image /= np.maximum(np.sqrt(np.einsum('mki,mki->m', image, image) / 20.0),
                        _TINY)[:, np.newaxis, np.newaxis]
    image[..., 0] *= mirror
    for plane, points in ((0, world), (1, image)):
        planes.real[:, plane] = points[..., 0]
        planes.imag[:, plane] = points[..., 1]
    leans = planes.take(_KNUCKLES, axis=2).sum(axis=2)
    leans *= 1j
    leans /= np.maximum(np.abs(leans), _TINY)
    upright = leans.conj()
    along = forearm[:, :1] * mirror + 1j * forearm[:, 1:]
    along[~np.isfinite(along)] = 0.0
    features = np.empty((count, FEATURES), dtype=np.float32)
    turned = features[:, :100].reshape(count, 20, 5)
    # Seen as floats, complex numbers are pairs.
    pairs = (planes[..., 1:] * upright[..., np.newaxis]).view(float).reshape(count, 2, 20, 2)
    turned[..., :2] = pairs[:, 0]
    turned[..., 2] = world[:, 1:, 2]
    turned[..., 3:] = pairs[:, 1]
    features[:, 100:115] = continued.reshape(count, 15)
    features[:, LOG_LENGTHS] = np.log(lengths).reshape(count, 20)
    features[:, 135:143] = np.concatenate(
        (leans, along, along * upright[:, 1:]), axis=1).view(float)
    features[:, 143] = forearm_seen
    features[:, 144] = score
    return features


class Network:
    """A network of dense layers with SiLU between them, in numpy.

    Args:
        checkpoint: Holds its tensors: `NAME.mean` and `NAME.scale` of the inputs, and
            `NAME.K.weight` and `NAME.K.bias` of layer K.
        name: Of the network.
        layout: `inputs`, `hidden` (a list), `outputs`, and perhaps `max_deviation`, the number
            of standard deviations to which inputs are clipped: what lies beyond was hardly in
            the training data, and should not pull the outputs anywhere.

    Raises:
        UserError: A tensor is missing or of another shape.
    """

    def __init__(self, checkpoint: Checkpoint, name: str, layout: Mapping[str, Any]) -> None:
        sizes = [layout['inputs'], *layout['hidden'], layout['outputs']]
        self._mean = checkpoint.tensor(f'{name}.mean', (sizes[0],))
        self._scale = checkpoint.tensor(f'{name}.scale', (sizes[0],))
        self._max_deviation = layout.get('max_deviation', np.inf)
        self._layers = []
        for place, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False)):
            weight = checkpoint.tensor(f'{name}.{place}.weight', (outputs, inputs))
            bias = checkpoint.tensor(f'{name}.{place}.bias', (outputs,))
            self._layers.append((np.ascontiguousarray(weight.T), bias))

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the outputs.

        Args:
            inputs: Shape (m, inputs), float32.

        Returns:
            Shape (m, outputs), float32.
        """
        values = (inputs - self._mean) * self._scale
        if self._max_deviation < np.inf:
            np.maximum(values, -self._max_deviation, out=values)
            np.minimum(values, self._max_deviation, out=values)
        *hidden, last = self._layers
        for weight, bias in hidden:
            values = values @ weight + bias
            # Below -80 the exponential of float32 would overflow, and SiLU is 0 there.
            values /= 1.0 + np.exp(-np.maximum(values, -80.0))
        return values @ last[0] + last[1]


def build_mlp(layout: Mapping[str, Any]) -> Any:
    """Build the network of a layout as a torch module, for training.

    Args:
        layout: As in `Network`, and `dropout`, the share of hidden values left out.

    Returns:
        A `torch.nn.Module` from inputs to outputs; `mlp_tensors` gives its tensors.
    """
    import torch
    from torch import nn

    class Mlp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [layout['inputs'], *layout['hidden'], layout['outputs']]
            self.register_buffer('mean', torch.zeros(sizes[0]))
            self.register_buffer('scale', torch.ones(sizes[0]))
            self.layers = nn.ModuleList(
                nn.Linear(inputs, outputs)
                for inputs, outputs in zip(sizes, sizes[1:], strict=False))
            self.dropout = nn.Dropout(layout.get('dropout', 0.0))

        def forward(self, inputs: Any) -> Any:
            values = ((inputs - self.mean) * self.scale)
            if 'max_deviation' in layout:
                values = values.clamp(-layout['max_deviation'], layout['max_deviation'])
            for layer in self.layers[:-1]:
                values = self.dropout(nn.functional.silu(layer(values)))
            return self.layers[-1](values)

    return Mlp()


def mlp_tensors(network: Any, name: str) -> dict[str, np.ndarray]:
    """Give the tensors of `build_mlp` by the names that `Network` looks for."""
    tensors = {f'{name}.{part}': getattr(network, part) for part in ('mean', 'scale')}
    for place, layer in enumerate(network.layers):
        tensors[f'{name}.{place}.weight'] = layer.weight
        tensors[f'{name}.{place}.bias'] = layer.bias
    return {key: tensor.detach().cpu().numpy().astype(np.float32)
            for key, tensor in tensors.items()}
