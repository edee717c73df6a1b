"""A robotic arm with a five-fingered hand that imitates a human hand seen by a camera."""

import os

__version__ = '0.1.0'

# OpenCV reads this once, when it is imported, which is after this: a compressed picture of a few
# bytes may claim any size, and decoding it would take that memory.
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(8192 * 8192))
