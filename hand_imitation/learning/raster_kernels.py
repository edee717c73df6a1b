# mypy: ignore-errors
# Warp reads the annotations of its kernels as calls, which are no types to mypy.
"""Compiled loops of the fast renderer: skinning, normals, visibility, light on each pixel.

They run on one CPU core and take 1 to 2 ms where numpy takes 20 to 40. Warp comes with anny.
"""

import warp as wp

# Standard output is for results. Warnings of a missing GPU are no news either.
wp.config.log_level = wp.LOG_ERROR

_TAPS = 8


@wp.kernel
def skin(
    rest: wp.array(dtype=wp.vec3), bone: wp.array2d(dtype=wp.int32),
    weight: wp.array2d(dtype=wp.float32), rotation: wp.array(dtype=wp.mat33),
    offset: wp.array(dtype=wp.vec3), mirror: float, moved: wp.array(dtype=wp.vec3),
):
    """Move each rest vertex with its bones (linear blend skinning)."""
    i = wp.tid()
    total = wp.vec3(0.0, 0.0, 0.0)
    for k in range(bone.shape[1]):
        b = bone[i, k]
        total = total + weight[i, k] * (rotation[b] * rest[i] + offset[b])
    moved[i] = wp.vec3(mirror * total[0], total[1], total[2])


@wp.kernel
def add_face_normals(
    vertices: wp.array(dtype=wp.vec3), faces: wp.array(dtype=wp.vec3i),
    total: wp.array(dtype=wp.vec3),
):
    """Add each face's area-weighted normal to its corners; launched with one thread."""
    for f in range(faces.shape[0]):
        t = faces[f]
        a = vertices[t[0]]
        normal = wp.cross(vertices[t[1]] - a, vertices[t[2]] - a)
        for k in range(3):
            total[t[k]] = total[t[k]] + normal


@wp.kernel
def draw(
    corner: wp.array(dtype=wp.vec3), faces: wp.array(dtype=wp.vec3i), width: int, height: int,
    both_sides: int, near: float, depth: wp.array(dtype=wp.float32),
    face: wp.array(dtype=wp.int32), weights: wp.array(dtype=wp.vec2),
):
    """Find the nearest triangle at each pixel's centre; launched with one thread.

    Corners are x, y [px] and depth; triangles nearer than `near` are left out. y points down,
    so a triangle that faces us has negative area.
    """
    for f in range(faces.shape[0]):
        t = faces[f]
        a = corner[t[0]]
        u = corner[t[1]] - a
        v = corner[t[2]] - a
        area = u[0] * v[1] - u[1] * v[0]
        if a[2] < near or u[2] < near - a[2] or v[2] < near - a[2]:
            area = 0.0
        if area < 0.0 or (both_sides == 1 and area > 0.0):
            x0 = wp.max(int(wp.ceil(a[0] + wp.min(0.0, wp.min(u[0], v[0])) - 0.5)), 0)
            x1 = wp.min(int(wp.floor(a[0] + wp.max(0.0, wp.max(u[0], v[0])) + 0.5)), width)
            y0 = wp.max(int(wp.ceil(a[1] + wp.min(0.0, wp.min(u[1], v[1])) - 0.5)), 0)
            y1 = wp.min(int(wp.floor(a[1] + wp.max(0.0, wp.max(u[1], v[1])) + 0.5)), height)
            inverse = 1.0 / area
            for y in range(y0, y1):
                for x in range(x0, x1):
                    dx = float(x) + 0.5 - a[0]
                    dy = float(y) + 0.5 - a[1]
                    w1 = (dx * v[1] - dy * v[0]) * inverse
                    w2 = (dy * u[0] - dx * u[1]) * inverse
                    if w1 >= 0.0 and w2 >= 0.0 and w1 + w2 <= 1.0:
                        z = a[2] + w1 * u[2] + w2 * v[2]
                        i = y * width + x
                        if z < depth[i]:
                            depth[i] = z
                            face[i] = f
                            weights[i] = wp.vec2(w1, w2)


@wp.struct
class Lamps:
    """What lights a scene, linear RGB; see `scenes.Light`."""

    towards_key: wp.vec3
    key: wp.vec3
    towards_fill: wp.vec3
    fill: wp.vec3
    above: wp.vec3
    below: wp.vec3
    wrap: float
    highlight_power: float


@wp.struct
class ShadowMap:
    """Picture of the mesh from the key lamp."""

    right: wp.vec3
    down: wp.vec3
    low_right: float
    low_down: float
    scale: float
    size: int
    bias: float
    softness: float


@wp.func
def unshadowed(
    point: wp.vec3, towards: wp.vec3, shadow: ShadowMap, nearest: wp.array(dtype=wp.float32),
):
    """Share of the key lamp seen from a point, by taps on a spiral."""
    column = (wp.dot(point, shadow.right) - shadow.low_right) * shadow.scale
    row = (wp.dot(point, shadow.down) - shadow.low_down) * shadow.scale
    own = -wp.dot(point, towards) - shadow.bias
    radius = shadow.softness * shadow.scale
    lit = float(0.0)  # noqa: UP018 - a literal is a constant to Warp and cannot be added to
    for k in range(_TAPS):
        r = radius * wp.sqrt((float(k) + 0.5) / float(_TAPS))
        x = wp.clamp(int(column + r * wp.cos(2.4 * float(k))), 0, shadow.size - 1)
        y = wp.clamp(int(row + r * wp.sin(2.4 * float(k))), 0, shadow.size - 1)
        # A blocker is in full shade only when clearly in front, else edges would speckle.
        lit = lit + 1.0 - wp.clamp((own - nearest[y * shadow.size + x]) / 0.003, 0.0, 1.0)
    return lit / float(_TAPS)


@wp.kernel
def shade(
    faces: wp.array(dtype=wp.vec3i), vertices: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3), colours: wp.array(dtype=wp.vec3),
    gloss: wp.array(dtype=wp.float32), face: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.vec2), openness: wp.array(dtype=wp.float32), lamps: Lamps,
    shadow: ShadowMap, nearest: wp.array(dtype=wp.float32),
    irradiance: wp.array(dtype=wp.vec3), albedo: wp.array(dtype=wp.vec3),
    highlight: wp.array(dtype=wp.vec3),
):
    """Light that falls on each pixel's skin, the skin's colour, and what it mirrors."""
    i = wp.tid()
    if face[i] >= 0:
        t = faces[face[i]]
        w1 = weights[i][0]
        w2 = weights[i][1]
        w0 = 1.0 - w1 - w2
        point = w0 * vertices[t[0]] + w1 * vertices[t[1]] + w2 * vertices[t[2]]
        normal = wp.normalize(w0 * normals[t[0]] + w1 * normals[t[1]] + w2 * normals[t[2]])
        shine = w0 * gloss[t[0]] + w1 * gloss[t[1]] + w2 * gloss[t[2]]
        albedo[i] = w0 * colours[t[0]] + w1 * colours[t[1]] + w2 * colours[t[2]]

        lit = unshadowed(point, lamps.towards_key, shadow, nearest)
        # Light bends round skin a little: the edge of the shade is not at 90 degrees.
        key = wp.dot(normal, lamps.towards_key)
        direct = wp.max(key + lamps.wrap, 0.0) / (1.0 + lamps.wrap) * lit
        fill = wp.max(wp.dot(normal, lamps.towards_fill), 0.0)
        up = 0.5 - 0.5 * normal[1]
        room = up * lamps.above + (1.0 - up) * lamps.below + fill * lamps.fill
        irradiance[i] = direct * lamps.key + openness[i] * room

        half = wp.normalize(lamps.towards_key - wp.normalize(point))
        mirrored = wp.pow(wp.max(wp.dot(normal, half), 0.0), lamps.highlight_power) * lit
        highlight[i] = 0.16 * shine * mirrored * lamps.key
