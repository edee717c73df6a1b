"""The body of the synthetic person: mesh, skin weights and joint centres at rest.

The shape is taken from the parametric human `anny` once and kept as plain arrays; posing and
rendering need neither anny nor torch. The hand's rest frame is optical as the camera's: a
right hand with its palm towards the camera and its fingers up (x to the thumb's side, y down,
z from palm to back), origin at the wrist, metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.human.angles import FINGERS, THUMB, WRIST

ELBOW = 21
"""Row of the elbow in arrays of joint centres, after MediaPipe's 21 landmarks."""

CHAINS = {'thumb': THUMB, **FINGERS}
"""Landmarks of each chain of bones, from its base to its tip."""

BONES = ('forearm', 'palm', *(f'{chain}{i}' for chain in CHAINS for i in (1, 2, 3)))
"""Bones of the model: `index1` is the index's proximal phalanx, `thumb1` its metacarpal."""

# Where anny's bone heads differ from joints: its finger bones begin at the web of the fingers,
# its hand begins below the wrist's crease, and its last bones end at the end of the nail rather
# than in the finger's pulp. In metres on an average adult.
_KNUCKLE_SHIFT_M = {'index': 0.006, 'middle': 0.005, 'ring': 0.005, 'little': 0.004}
_WRIST_SHIFT_M = 0.014
_TIP_SHIFT_M = 0.006
_KNUCKLE_BLEND_M = 0.011


@dataclass(frozen=True)
class Body:
    """A right forearm and hand at rest.

    Attributes:
        vertices: Shape (v, 3) [m].
        faces: Shape (m, 3), counter-clockwise seen from outside.
        weights: How much each bone moves each vertex, shape (v, bones), rows sum to 1.
        joints: Joint centres, shape (22, 3) [m]: MediaPipe's landmarks, then the elbow.
    """

    vertices: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    joints: np.ndarray


def load_body(phenotype: Mapping[str, float] | None = None, subdivisions: int = 2) -> Body:
    """Take the right forearm and hand out of anny's human.

    Args:
        phenotype: Any of anny's gender, age, muscle, weight, height and proportions, each 0 to
            1; the others keep the values of an average adult.
        subdivisions: How often each triangle is split in four and smoothed; 2 for pictures of
            a thousand pixels, 1 for small ones.

    Returns:
        The body at rest.

    Raises:
        UserError: When anny is not installed.
    """
    try:
        import anny
        import torch
    except ImportError as error:
        raise UserError(f'synthetic people need {error.name}: pip install anny torch') from error
    model = anny.Anny(rig='anny-blender', phenotype_blendshapes='original')
    adult = {'gender': 0.6, 'age': 0.67, 'muscle': 0.5, 'weight': 0.5, 'height': 0.5,
             'proportions': 0.5}
    with torch.no_grad():
        out = model(phenotype_kwargs={**adult, **(phenotype or {})}, return_bone_ends=True)
    labels = list(model.bone_labels)
    heads = dict(zip(labels, out['rest_bone_heads'][0].numpy().astype(float), strict=True))
    tails = dict(zip(labels, out['rest_bone_tails'][0].numpy().astype(float), strict=True))
    vertices = out['rest_vertices'][0].numpy().astype(float)
    weights = np.zeros((len(vertices), len(BONES)))
    columns = np.array([_bone_of(label) for label in labels])
    rows = np.repeat(np.arange(len(vertices)), model.vertex_bone_indices.shape[1])
    column = columns[model.vertex_bone_indices.numpy().astype(int).ravel()]
    ours = column >= 0
    np.add.at(weights, (rows[ours], column[ours]), model.vertex_bone_weights.numpy().ravel()[ours])

    rotation = _rest_frame(heads)
    origin = heads['wrist.R']
    joints = _joint_centres(heads, tails)
    body = _cut(vertices, model.faces.numpy(), weights, joints)
    body = replace(body, vertices=(body.vertices - origin) @ rotation.T,
                   joints=(body.joints - origin) @ rotation.T)
    body = _move_knuckles(body)
    for _ in range(subdivisions):
        body = _subdivide(body)
    return body


def reshape(body: Body, length: Mapping[str, float], girth: Mapping[str, float]) -> Body:
    """Change proportions bone by bone.

    Args:
        body: The body to start from.
        length: Factor by which each named bone (see `BONES`) is longer; others keep theirs.
        girth: Factor by which it is thicker.

    Returns:
        The new body. The palm's length and girth move the knuckles with it.
    """
    frames = bone_frames(body.joints)
    scales = {}
    for bone, (_, direction) in frames.items():
        along = np.outer(direction, direction)
        scales[bone] = (length.get(bone, 1.0) * along
                        + girth.get(bone, 1.0) * (np.eye(3) - along))
    joints = body.joints.copy()
    palm = scales['palm']
    for chain in CHAINS.values():
        joints[chain[0]] = palm @ (body.joints[chain[0]] - body.joints[WRIST]) + joints[WRIST]
    for name, chain in CHAINS.items():
        for i in (1, 2, 3):
            step = body.joints[chain[i]] - body.joints[chain[i - 1]]
            joints[chain[i]] = joints[chain[i - 1]] + scales[f'{name}{i}'] @ step
    joints[ELBOW] = joints[WRIST] + scales['forearm'] @ (joints[ELBOW] - joints[WRIST])
    moved = np.zeros_like(body.vertices)
    for column, bone in enumerate(BONES):
        head = WRIST if bone == 'forearm' else frames[bone][0]
        placed = (body.vertices - body.joints[head]) @ scales[bone].T + joints[head]
        moved += body.weights[:, column:column + 1] * placed
    return replace(body, vertices=moved, joints=joints)


def bone_frames(joints: np.ndarray) -> dict[str, tuple[int, np.ndarray]]:
    """Give each bone's head and direction.

    Args:
        joints: Shape (22, 3).

    Returns:
        For each of `BONES`, the row of the joint it turns about and its unit direction.
    """
    ends = {'forearm': (ELBOW, WRIST), 'palm': (WRIST, FINGERS['middle'][0])}
    for name, chain in CHAINS.items():
        for i in (1, 2, 3):
            ends[f'{name}{i}'] = (chain[i - 1], chain[i])
    return {bone: (head, unit(joints[tail] - joints[head]))
            for bone, (head, tail) in ends.items()}


def unit(vector: np.ndarray) -> np.ndarray:
    """Scale a vector, or each row of an array, to length 1."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 at low to 1 at high."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _bone_of(label: str) -> int:
    """Our column for one of anny's bones, or -1."""
    if not label.endswith('.R'):
        return -1
    name = label[:-2]
    if name.startswith('finger'):
        return BONES.index(f'{list(CHAINS)[int(name[6]) - 1]}{name[8]}')
    if name == 'wrist' or name.startswith('metacarpal'):
        return BONES.index('palm')
    return BONES.index('forearm') if name.startswith(('lowerarm', 'upperarm')) else -1


def _rest_frame(heads: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rotation from anny's world to the hand's rest frame."""
    up = unit(heads['finger3-1.R'] - heads['wrist.R'])
    across = heads['finger2-1.R'] - heads['finger5-1.R']
    right = unit(across - np.dot(across, up) * up)
    return np.stack([right, -up, np.cross(right, -up)])


def _joint_centres(
    heads: Mapping[str, np.ndarray], tails: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Joint centres from anny's bones, shape (22, 3)."""
    joints = np.zeros((22, 3))
    palm = unit(heads['finger3-1.R'] - heads['wrist.R'])
    joints[WRIST] = heads['wrist.R'] + _WRIST_SHIFT_M * palm
    joints[ELBOW] = heads['lowerarm01.R']
    for number, (name, chain) in enumerate(CHAINS.items(), start=1):
        for i in (1, 2, 3):
            joints[chain[i - 1]] = heads[f'finger{number}-{i}.R']
        tail = tails[f'finger{number}-3.R']
        joints[chain[3]] = tail - _TIP_SHIFT_M * unit(tail - joints[chain[2]])
        if name in _KNUCKLE_SHIFT_M:
            back = unit(joints[WRIST] - joints[chain[0]])
            joints[chain[0]] += _KNUCKLE_SHIFT_M[name] * back
    return joints


def _cut(vertices: np.ndarray, faces: np.ndarray, weights: np.ndarray,
         joints: np.ndarray) -> Body:
    """Keep what our bones move, up to just above the elbow."""
    ours = weights.sum(axis=1) > 0.5
    faces = faces[ours[faces].all(axis=1)]
    used = np.unique(faces)
    index = np.zeros(len(vertices), dtype=int)
    index[used] = np.arange(len(used))
    kept = weights[used]
    return Body(vertices[used], index[faces], kept / kept.sum(axis=1, keepdims=True), joints)


def _move_knuckles(body: Body) -> Body:
    """Let each finger bend about its knuckle instead of about the web."""
    weights = body.weights.copy()
    across = {}
    along = {}
    for name in FINGERS:
        head, tip = body.joints[FINGERS[name][0]], body.joints[FINGERS[name][1]]
        direction = unit(tip - head)
        offset = body.vertices - head
        along[name] = offset @ direction
        lateral = offset[:, 0] - along[name] * direction[0]
        across[name] = np.exp(-(lateral / 0.0075) ** 2)
    total = sum(across.values()) + 1e-9
    thumb = [BONES.index(f'thumb{i}') for i in (1, 2, 3)]
    free = 1.0 - weights[:, thumb].sum(axis=1)
    for name in FINGERS:
        first = BONES.index(f'{name}1')
        chain = weights[:, first:first + 3].sum(axis=1)
        near = smoothstep(-_KNUCKLE_BLEND_M, _KNUCKLE_BLEND_M, along[name])
        wanted = np.maximum(chain, free * near * across[name] / total)
        weights[:, first] += wanted - chain
    palm = BONES.index('palm')
    others = weights.sum(axis=1) - weights[:, palm] - weights[:, BONES.index('forearm')]
    weights[:, palm] = np.maximum(1.0 - others - weights[:, BONES.index('forearm')], 0.0)
    return replace(body, weights=weights / weights.sum(axis=1, keepdims=True))


def _subdivide(body: Body) -> Body:
    """Split each triangle in four and smooth, by Loop's scheme (Loop 1987)."""
    faces = body.faces
    count = len(body.vertices)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    opposite = faces[:, [2, 0, 1]].ravel()
    edges, index = np.unique(edges, axis=0, return_inverse=True)
    index = index.ravel()
    uses = np.bincount(index, minlength=len(edges))
    border = uses == 1
    values = np.hstack([body.vertices, body.weights])

    opposite_sum = _sum_by(index, values[opposite], len(edges))
    ends = values[edges[:, 0]] + values[edges[:, 1]]
    middle = np.where(border[:, None], ends / 2.0, 3.0 / 8.0 * ends + opposite_sum / 8.0)

    both = np.concatenate([edges, edges[:, ::-1]])
    degree = np.bincount(both[:, 0], minlength=count)
    neighbours = _sum_by(both[:, 0], values[both[:, 1]], count)
    beta = (5.0 / 8.0 - (3.0 / 8.0 + np.cos(2.0 * np.pi / degree) / 4.0) ** 2) / degree
    even = (1.0 - degree * beta)[:, None] * values + beta[:, None] * neighbours
    on_border = np.unique(edges[border])
    even[on_border] = values[on_border]

    values = np.concatenate([even, middle])
    split = (count + index).reshape(-1, 3)
    new_faces = np.concatenate([
        np.stack([faces[:, 0], split[:, 0], split[:, 2]], axis=1),
        np.stack([faces[:, 1], split[:, 1], split[:, 0]], axis=1),
        np.stack([faces[:, 2], split[:, 2], split[:, 1]], axis=1),
        split,
    ])
    return replace(body, vertices=values[:, :3], faces=new_faces, weights=values[:, 3:])


def _sum_by(index: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Sum the rows of values that share an index, shape (count, k)."""
    return np.stack([np.bincount(index, column, minlength=count) for column in values.T], axis=1)
