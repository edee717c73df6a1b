"""ROS 2 nodes; the only place that imports rclpy or messages."""

import os

# OpenCV reads this once, when it is imported: a compressed picture of a few bytes may claim any
# size, and decoding it would take that memory. Every module of a node is imported after this.
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(8192 * 8192))
