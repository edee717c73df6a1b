"""A robotic arm with a five-fingered hand that imitates a human hand seen by a camera."""

__version__ = '0.1.0'
