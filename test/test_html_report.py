"""The report opens offline in a real browser, draws everything, and believes nothing."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_recordings as synthetic

from hand_imitation.evaluation.html_report import page, write_report
from hand_imitation.evaluation.metrics import metrics_document
from hand_imitation.evaluation.recording import Hold
from hand_imitation.evaluation.replay import ReplayOptions, replay_bag
from hand_imitation.evaluation.thresholds import check_thresholds, parse_threshold

REFERENCE_BAG = Path(__file__).parent / 'data' / 'reference_bag'
PLOTS = ('plot-means', 'plot-time', 'plot-heat', 'plot-timeline', 'plot-spread', 'plot-latency',
         'plot-now')
NASTY = '</script><img src=x onerror="window.hacked=1"><b>\u2028&amp;@DATA@'


def write(path: Path, recordings, runs, thresholds=()) -> Path:
    document = metrics_document(recordings, runs)
    checks = check_thresholds(document, thresholds)
    write_report(path, document, recordings, runs, {'replay_s': 1.5}, checks)
    return path


@pytest.fixture(scope='module')
def replayed():
    return replay_bag(REFERENCE_BAG, ReplayOptions(
        policies=('geometric', 'recorded'), landmarks='recorded'))


@pytest.fixture(scope='module')
def report(replayed, tmp_path_factory):
    path = tmp_path_factory.mktemp('report') / 'report.html'
    return write(path, [replayed.recording], [replayed.runs], [
        parse_threshold('joint_error_deg.mean=1', 'above'),
        parse_threshold('tracking.tracked_share=0.9', 'below')])


class Browser:
    """Headless Chromium that notes what a page asks for and complains of."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path: Path, width: int = 1280, scheme: str = 'light') -> None:
        self.command('Emulation.setDeviceMetricsOverride', width=width, height=900,
                     deviceScaleFactor=1, mobile=width < 600)
        self.command('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': scheme}])
        self.driver.get_log('performance')
        self.driver.get_log('browser')
        self.driver.get(path.as_uri())

    def command(self, name: str, **values):
        return self.driver.execute_cdp_cmd(name, values)

    def run(self, script: str):
        return self.driver.execute_script(script)

    def complaints(self) -> list[str]:
        return [entry['message'] for entry in self.driver.get_log('browser')]

    def requests(self) -> list[str]:
        """Addresses asked for, but for the page itself and what lies in it."""
        found = []
        for entry in self.driver.get_log('performance'):
            message = json.loads(entry['message'])['message']
            if message['method'] in ('Network.requestWillBeSent', 'Network.webSocketCreated'):
                parameters = message['params']
                found.append(parameters.get('request', parameters)['url'])
        page_itself = self.driver.current_url
        return [url for url in found if url != page_itself and not url.startswith('data:')]


@pytest.fixture(scope='module')
def browser():
    webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is not installed')
    chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which(
        'google-chrome')
    driver = shutil.which('chromedriver')
    if chromium is None or driver is None:
        pytest.skip('no Chromium with its driver: apt install chromium chromium-driver')
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # The sandbox does not work for root, as in containers; the page is our own.
    for argument in ('--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    chrome = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=driver))
    yield Browser(chrome)
    chrome.quit()


def test_the_browser_test_would_see_a_request_and_an_error(browser, tmp_path):
    page_ = tmp_path / 'bad.html'
    page_.write_text('<img src="missing.png"><script>nothing.there()</script>')
    browser.open(page_)
    assert any(url.endswith('missing.png') for url in browser.requests())
    assert any('nothing is not defined' in words for words in browser.complaints())


@pytest.mark.parametrize(('width', 'scheme'), [(1280, 'light'), (390, 'dark')])
def test_it_opens_without_requests_or_errors(browser, report, width, scheme):
    browser.open(report, width, scheme)
    assert browser.run('return document.documentElement.dataset.ready') == 'true'
    assert browser.complaints() == []
    assert browser.requests() == []
    for plot in PLOTS:
        shapes = browser.run(
            f'return document.querySelectorAll("#{plot} svg :is(path, rect, line)").length')
        assert shapes > 10, plot
    # No plot is wider than the page, and the page no wider than the screen.
    assert browser.run('return document.documentElement.scrollWidth') <= width


def test_it_is_one_file_and_names_no_other(report):
    text = report.read_text(encoding='utf-8')
    assert report.stat().st_size < 3_000_000
    addresses = set(re.findall(r'(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\'"]*', text))
    assert addresses <= {'http://www.w3.org/2000/svg'}  # a name, not an address
    assert re.search(r"default-src 'none'", text)
    assert not re.search(r'<(?:link|script|img|iframe)[^>]+(?:src|href)="(?!data:)', text)


def test_it_says_the_verdict_first(browser, report):
    browser.open(report)
    verdict = browser.run('return document.querySelector("main > section").innerText')
    assert verdict.startswith('Fail · 2 of 4 limits missed')
    assert 'geometric: joint_error_deg.mean is' in verdict
    assert 'mean command error' in verdict
    assert browser.run('return document.querySelector(".verdict").className') == 'verdict fail'


def test_the_table_holds_the_figures_of_the_document(browser, report, replayed):
    document = metrics_document([replayed.recording], [replayed.runs])
    browser.open(report)
    cells = browser.run(
        'return [...document.querySelectorAll("#table tbody tr")].map('
        'row => [...row.children].map(c => c.innerText))')
    row, = [row for row in cells if row[0] == 'Joint error, mean']
    for text, name in zip(row[1:], ('geometric', 'recorded'), strict=True):
        found = document['policies'][name]['joint_error_deg']
        low, high = found['ci95']['low'], found['ci95']['high']
        assert text.split('\n') == [f'{found["mean"]:.2f}°', f'{low:.2f} to {high:.2f}']


def test_the_film_shows_camera_arm_and_landmarks_and_can_be_scrubbed(browser, report):
    browser.open(report)

    def shown() -> list[str]:
        return browser.run('return [...document.querySelectorAll(".stage img")].map(i => i.src)')

    first = shown()
    assert len(first) == 4  # camera, true pose, and the arm of either policy
    assert browser.run(
        'return [...document.querySelectorAll(".stage img")].every(i => i.naturalWidth > 0)')
    assert browser.run('return document.querySelectorAll("#view-camera circle").length') == 21
    browser.run('const s = document.getElementById("scrub"); s.value = 0;'
                's.dispatchEvent(new Event("input"))')
    assert shown()[0] != first[0]
    tabs = browser.run('return document.querySelectorAll("#moment-tabs button").length')
    assert tabs >= 3
    browser.run('document.querySelectorAll("#moment-tabs button")[1].click()')
    assert shown() != first
    assert browser.complaints() == []


def test_the_landmarks_lie_on_the_hand(replayed):
    """In the picture as shown, flipped: skin is redder than the wall behind it."""
    recording, run = replayed.recording, replayed.runs[0]
    picture, points = recording.pictures(100), run.landmarks[100]
    columns, rows = np.round(points).astype(int).T
    redness = picture[..., 2].astype(int) - picture[..., 0]
    assert redness[rows, columns].mean() > redness.mean() + 20


def test_another_joint_can_be_chosen(browser, report):
    browser.open(report)
    read = 'return document.querySelector("#plot-time path").getAttribute("d")'
    before = browser.run(read)
    browser.run('const j = document.getElementById("joint"); j.value = 3;'
                'j.dispatchEvent(new Event("change"))')
    assert browser.run(read) != before
    assert browser.complaints() == []


def test_dropouts_and_holds_are_on_the_timeline(browser, report, replayed):
    browser.open(report)
    spans = browser.run('return DATA.courses[0].rows.map(row => row.spans)')
    lost, geometric, _ = spans
    assert len(lost) == 1 and lost[0][1] - lost[0][0] == pytest.approx(0.5, abs=0.04)
    assert len(geometric) == len(replayed.runs[0].holds)
    assert 'no valid target in time' in geometric[0][2]


def test_what_a_bag_says_is_text_and_never_markup(browser, tmp_path):
    recording = synthetic.recording_of(
        synthetic.sound(), NASTY, problems=(NASTY,), truncated=True,
        latency_ms={NASTY: np.array([1.0, 2.0])})
    hold = Hold(synthetic.START_NS, synthetic.START_NS + 10**9, NASTY)
    run = synthetic.run_of(synthetic.offset('wrist', 0.1), NASTY, holds=(hold,))
    path = write(tmp_path / 'report.html', [recording], [[run]])
    browser.open(path)
    assert browser.complaints() == [] and browser.requests() == []
    assert browser.run('return window.hacked') is None
    assert browser.run('return document.querySelectorAll("b, img[src=x]").length') == browser.run(
        'return document.querySelectorAll("#film-words b").length')
    assert browser.run('return document.getElementById("title").textContent') == NASTY
    notices = browser.run('return document.getElementById("notices").innerText')
    assert 'breaks off' in notices and '<img src=x' in notices


def test_data_cannot_end_its_element():
    text = page({'title': NASTY, 'more': NASTY})
    assert text.count('</script>') == 2
    assert '<img' not in text and '\u2028' not in text.split('id="data"')[1]


def bare(**changes):
    return synthetic.recording_of(synthetic.sound(), **changes)


def runs_for(case: str):
    made = synthetic.sound()
    frames = len(made.frame_ns)
    nothing = np.full((frames, 12), np.nan)
    run = synthetic.run_of(made)
    empty = replace(run.command, time_ns=run.command.time_ns[:0],
                    position_rad=run.command.position_rad[:0])
    if case == 'no truth':
        return [bare(truth=None)], [[run, synthetic.run_of(synthetic.delay(3), 'late')]]
    if case == 'no hand':
        lost = replace(run, tracked=np.zeros(frames, bool), command=empty, measured=empty,
                       target=replace(run.target, position_rad=nothing))
        return [bare()], [[lost]]
    if case == 'two bags':
        return [bare(source='first'), bare(source='second')], [[run], [run]]
    if case == 'one frame':
        one = replace(run.target, time_ns=run.target.time_ns[:1],
                      position_rad=run.target.position_rad[:1])
        recording = bare(frame_ns=run.target.time_ns[:1], truth=one)
        return [recording], [[replace(run, tracked=np.ones(1, bool), target=one)]]
    return [bare()], [[replace(run, policy=str(i)) for i in range(7)]]


@pytest.mark.parametrize('case', ['no truth', 'no hand', 'two bags', 'one frame', 'many policies'])
def test_it_opens_with_whatever_is_missing(browser, tmp_path, case):
    path = write(tmp_path / 'report.html', *runs_for(case))
    browser.open(path)
    assert browser.complaints() == []
    assert browser.run('return document.documentElement.dataset.ready') == 'true'
    words = browser.run('return document.body.innerText')
    assert 'NaN' not in words and 'undefined' not in words and 'null' not in words
    if case == 'no hand':
        assert 'No hand was seen in any frame' in words
    if case == 'no truth':
        assert 'since there is no truth' in words
