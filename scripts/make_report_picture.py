#!/usr/bin/env python3
"""Take a picture of the telling parts of a report, for the README and the docs.

It needs Chromium with its driver (apt install chromium chromium-driver).

Example:
    hand-imitation replay test/data/reference_bag --simulate --out out/report
    python scripts/make_report_picture.py out/report/report.html docs/report.png
"""

from __future__ import annotations

import argparse
import base64
import shutil
from pathlib import Path

import cv2
import numpy as np
from selenium import webdriver

LEFT_OUT = ('#policies', '#heat-title', '#plot-heat', '#spread', '.pair', 'footer')
WIDTH = 1120


def main() -> None:
    """Read the command line and take the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('report', type=Path)
    parser.add_argument('picture', type=Path)
    options = parser.parse_args()
    browser = headless()
    try:
        browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
            'width': WIDTH, 'height': 900, 'deviceScaleFactor': 1, 'mobile': False})
        browser.get(options.report.resolve().as_uri())
        height = browser.execute_script(
            f'document.querySelectorAll("{", ".join(LEFT_OUT)}").forEach(e => e.remove());'
            'return document.documentElement.scrollHeight')
        taken = browser.execute_cdp_cmd('Page.captureScreenshot', {
            'captureBeyondViewport': True,
            'clip': {'x': 0, 'y': 0, 'width': WIDTH, 'height': height, 'scale': 1}})
    finally:
        browser.quit()
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(taken['data']), np.uint8), 1)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.picture), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def headless() -> webdriver.Chrome:
    """Start Chromium without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which('chromium') or shutil.which('chromium-browser') or ''
    # The sandbox does not work for root, as in containers.
    for argument in ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'):
        options.add_argument(argument)
    driver = shutil.which('chromedriver')
    if not options.binary_location or driver is None:
        raise SystemExit('error: no Chromium: apt install chromium chromium-driver')
    return webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=driver))


if __name__ == '__main__':
    main()
