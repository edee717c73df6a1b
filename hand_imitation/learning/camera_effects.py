"""What a camera does to light: exposure, white balance, tone, lens, sensor, sharpening, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

Random = np.random.Generator


def photograph(
    random: Random, linear: np.ndarray, hand: np.ndarray, *, gentle: bool = False,
) -> np.ndarray:
    """Turn light into a photograph.

    Args:
        random: Where to draw from.
        linear: Linear RGB, float32, shape (size, size, 3).
        hand: How much of each pixel the hand covers, shape (size, size).
        gentle: Whether to leave out strong blur, noise and loss of resolution.

    Returns:
        sRGB, uint8, shape (size, size, 3).
    """
    size = len(linear)
    light = linear * _exposure(random, linear, hand)
    light = light * _white_balance(random) * _vignette(random, size)
    picture = _tone(random, light)
    if random.random() < 0.45:
        picture = _levels(random, picture)
    if random.random() < 0.35:
        picture = _clarity(random, picture)
    sharp_px = size if gentle or random.random() < 0.5 else int(
        size * random.uniform(0.42, 1.0))
    if sharp_px < size:
        picture = cv2.resize(picture, (sharp_px, sharp_px), interpolation=cv2.INTER_AREA)
    picture = _lens(random, picture, 0.3 if gentle else 1.0)
    picture = _sensor(random, picture, 0.5 if gentle else 1.0)
    if random.random() < 0.45:
        picture = _sharpen(random, picture)
    coded: np.ndarray = (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    if random.random() < 0.75:
        coded = _through_jpeg(coded, int(random.uniform(60 if gentle else 35, 97)))
    if sharp_px < size:
        interpolation = cv2.INTER_CUBIC if random.random() < 0.5 else cv2.INTER_LINEAR
        coded = cv2.resize(coded, (size, size), interpolation=interpolation)
    return np.ascontiguousarray(coded)


def _through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """Compress and decompress."""
    code = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded just now
    return decoded[..., ::-1]


def _exposure(random: Random, linear: np.ndarray, hand: np.ndarray) -> float:
    """Meter the picture as cameras do, somewhat for the hand, and miss a little."""
    luminance = linear @ np.array([0.21, 0.72, 0.07], dtype=np.float32)
    on_hand = float((luminance * hand).sum() / max(hand.sum(), 1.0))
    metered = 0.55 * float(luminance.mean()) + 0.45 * on_hand
    wanted = 0.30 * np.exp(random.normal(0.0, 0.32))
    return float((wanted / max(metered, 1e-3)) ** random.uniform(0.6, 1.0))


def _white_balance(random: Random) -> np.ndarray:
    gains = np.exp(random.normal(0.0, 0.055, 3) * [1.0, 0.4, 1.3])
    return (gains / gains.mean()).astype(np.float32)


def _vignette(random: Random, size: int) -> np.ndarray:
    """Darker corners; the crop may lie anywhere in the camera's picture."""
    if random.random() < 0.5:
        return np.ones((size, size, 1), dtype=np.float32)
    centre, strength = random.normal(0.0, 0.25, 2), random.uniform(0.0, 0.55)
    ramp = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    square = (ramp[None, :] - centre[0]) ** 2 + (ramp[:, None] - centre[1]) ** 2
    return (1.0 / (1.0 + strength * square))[..., None].astype(np.float32)


def _tone(random: Random, light: np.ndarray) -> np.ndarray:
    """Roll off before white, encode, then contrast and saturation as phones add them."""
    soft = light * (1.0 + light / 4.0) / (1.0 + light * 0.55)
    picture = np.clip(soft, 0.0, 1.0) ** np.float32(1.0 / random.uniform(1.9, 2.4))
    contrast = random.uniform(-0.25, 0.5)
    curved = picture * picture * (3.0 - 2.0 * picture)
    picture = picture + contrast * (curved - picture)
    grey = picture @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    saturation = np.exp(random.normal(-0.08, 0.22)) if random.random() > 0.03 else 0.0
    return np.clip(grey[..., None] + saturation * (picture - grey[..., None]), 0.0, 1.0)


def _levels(random: Random, picture: np.ndarray) -> np.ndarray:
    """Stretch to the whole range, as automatic exposure and scanners' software do."""
    low, high = np.percentile(picture[::4, ::4], [random.uniform(0.5, 3.0),
                                                  random.uniform(97.0, 99.5)])
    black, white = random.uniform(0.0, 0.12), random.uniform(0.75, 1.0)
    gain = min((white - black) / max(high - low, 0.05), 2.5)
    middle = 0.5 * (low + high)
    return np.clip((picture - middle) * gain + 0.5 * (black + white), 0.0, 1.0)


def _clarity(random: Random, picture: np.ndarray) -> np.ndarray:
    """Raise contrast between neighbouring regions, as phones do to whatever they photograph."""
    around = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.02, 0.08) * len(picture))
    return np.clip(picture + random.uniform(0.1, 0.5) * (picture - around), 0.0, 1.0)


def _lens(random: Random, picture: np.ndarray, strength: float) -> np.ndarray:
    """Out of focus or moved."""
    choice = random.random()
    if choice < 0.40:
        sigma = random.uniform(0.3, 0.95) * strength
        return cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.2))
    if choice < 0.48 and strength > 0.5:
        length = int(random.integers(2, 7))
        kernel = np.zeros((7, 7), dtype=np.float32)
        angle = random.uniform(0.0, np.pi)
        step = np.array([np.cos(angle), np.sin(angle)]) * length / 2.0
        ends = (np.array([[3.0, 3.0]]) + np.array([[-1.0], [1.0]]) * step) * 16.0
        cv2.line(kernel, tuple(int(v) for v in ends[0]), tuple(int(v) for v in ends[1]), 1.0, 1,
                 cv2.LINE_AA, 4)
        return cv2.filter2D(picture, -1, kernel / max(float(kernel.sum()), 1e-6))
    return picture


def _sensor(random: Random, picture: np.ndarray, strength: float) -> np.ndarray:
    """Noise, in part coarse and coloured, as left over by noise reduction."""
    level = strength * min(random.exponential(0.008), 0.035)
    shape = picture.shape
    noise = random.standard_normal(shape[:2]).astype(np.float32)[..., None] * 0.8
    noise = noise + random.standard_normal(shape).astype(np.float32) * 0.5
    if random.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), 0.7) * 1.8
    return picture + np.float32(level) * noise


def _sharpen(random: Random, picture: np.ndarray) -> np.ndarray:
    """Unsharp mask, as phones apply it, with its halos."""
    blurred = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.7, 1.6))
    return picture + random.uniform(0.1, 1.0) * (picture - blurred)
