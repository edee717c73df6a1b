"""Fast replay: what it makes of a bag, that it is the same every time, and what it refuses."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('rosbags')
pytest.importorskip('mediapipe')

from bag_rig import (  # noqa: E402
    RATE_HZ,
    START_NS,
    TABLE,
    frame_ns,
    packed_image,
    pictures,
    raw_image,
    recording,
    sample_truth,
    text,
    write_bag,
)
from shared_data import ROOT  # noqa: E402

from hand_imitation.arm.safety import SafetyParameters  # noqa: E402
from hand_imitation.cli import main  # noqa: E402
from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.evaluation.following import Follower, IdealBehind  # noqa: E402
from hand_imitation.evaluation.many_bags import replay_bags  # noqa: E402
from hand_imitation.evaluation.metrics import document_text, metrics_document  # noqa: E402
from hand_imitation.evaluation.recording import RECORDED  # noqa: E402
from hand_imitation.evaluation.replay import ReplayOptions, replay_bag  # noqa: E402
from hand_imitation.policy import DEFAULT_POLICY  # noqa: E402

COUNT = 60
BOTH = ReplayOptions(policies=('geometric', RECORDED))
FROM_LANDMARKS = dataclasses.replace(BOTH, landmarks='recorded')


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp('bags') / 'bag', recording(COUNT))


@pytest.fixture(scope='module')
def replayed(bag):
    return replay_bag(bag, BOTH)


def written(replayed) -> str:
    return document_text(metrics_document([replayed.recording], [replayed.runs]))


# What it makes of a bag.

def test_frames_truth_and_tracking(replayed):
    recording = replayed.recording
    assert recording.source == 'bag' and not recording.truncated and recording.problems == ()
    assert recording.frame_ns.tolist() == [frame_ns(n) for n in range(COUNT)]
    geometric, told = replayed.runs
    assert geometric.policy == 'geometric' and told.policy == RECORDED
    assert geometric.tracked.all() and geometric.tracked is told.tracked
    assert geometric.landmarks.shape == (COUNT, 21, 2)
    height, width = recording.pictures(0).shape[:2]
    assert (geometric.landmarks >= 0).all() and (geometric.landmarks <= (width, height)).all()


def test_truth_is_in_the_arms_terms(replayed):
    """A left hand before a right arm that mirrors it: the thumbs point the same way."""
    truth, names = replayed.recording.truth, sample_truth().names
    person = np.array([TABLE.reorder(names, row) for row in sample_truth().positions_rad[:COUNT]])
    assert np.allclose(truth.position_rad[:, :10], person[:, :10])
    assert np.allclose(np.abs(truth.position_rad[:, 10:]), np.abs(person[:, 10:]))
    estimate = replayed.runs[0].target.position_rad[20:, 11]
    assert np.abs(estimate - truth.position_rad[20:, 11]).mean() < np.radians(8.0)


def test_the_other_arm_or_no_mirror_turns_wrist_and_elbow(bag, replayed):
    other = replay_bag(bag, dataclasses.replace(FROM_LANDMARKS, mirror=False))
    assert np.allclose(
        other.recording.truth.position_rad[:, 10:],
        -replayed.recording.truth.position_rad[:, 10:])
    left = replay_bag(bag, dataclasses.replace(FROM_LANDMARKS, side='left'))
    assert left.recording.side == 'left'
    assert np.allclose(
        left.recording.truth.position_rad[:, 10:],
        -replayed.recording.truth.position_rad[:, 10:])


def test_commands_come_a_hundred_times_a_second_behind_the_recorded_delay(replayed):
    run = replayed.runs[0]
    assert np.diff(run.command.time_ns).tolist() == [10_000_000] * (len(run.command) - 1)
    assert run.command.time_ns[0] == START_NS
    assert run.violations == 0 and run.holds == ()
    # The first target arrives 15 ms after its frame: no frame is in use before.
    assert np.isnan(run.frame_age_ms[:2]).all()
    ages = run.frame_age_ms[2:]
    assert ages.min() >= 15.0 - 1e-6 and ages.max() <= 15.0 + 1000.0 / RATE_HZ + 1e-6


def test_recorded_latency(replayed):
    latency = replayed.recording.latency_ms
    # Perception's end is not in the bag, so its share and the policy's cannot be told apart.
    assert list(latency) == ['command', 'end_to_end']
    assert np.allclose(latency['command'], 2.0)
    assert np.allclose(latency['end_to_end'], 17.0) and len(latency['end_to_end']) == COUNT


def test_the_recorded_run_is_what_the_bag_tells(replayed):
    told = replayed.runs[1]
    assert np.allclose(
        told.target.position_rad[:, :10],
        TABLE.clip(replayed.recording.truth.position_rad)[:, :10])
    assert told.measured_source == 'recorded'
    assert len(told.measured) == len(replayed.runs[0].measured)
    assert (np.diff(told.command.time_ns) > 0).all()


def test_recorded_landmarks_give_what_perception_gave(bag, replayed):
    again = replay_bag(bag, FROM_LANDMARKS)
    difference = again.runs[0].target.position_rad - replayed.runs[0].target.position_rad
    # Perception saw these pictures before they were compressed; without markers the palm
    # stands in for the forearm, so wrist and elbow differ.
    assert np.degrees(np.abs(difference[:, :10])).mean() < 2.0
    assert np.isnan(again.runs[0].landmarks).all()


def test_a_simulated_arm_follows_its_policy(bag, replayed):
    simulated = replay_bag(bag, dataclasses.replace(FROM_LANDMARKS, simulate=True))
    run = simulated.runs[0]
    assert run.measured_source == 'simulated' and len(run.measured) == len(run.command)
    lag = np.abs(run.measured.position_rad - run.command.position_rad)[100:]
    assert 0.0 < lag.mean() < 0.1
    assert run.violations == 0
    assert simulated.runs[1].measured_source == 'recorded'


def test_without_any_arm_the_command_still_follows(tmp_path):
    bag = write_bag(tmp_path / 'bag', [
        m for m in recording(40) if m[0] not in ('/joint_states', '/joint_trajectory')])
    options = ReplayOptions(policies=('geometric',), landmarks='recorded')
    run, = replay_bag(bag, options).runs
    assert run.measured_source == 'none' and len(run.measured) == 0
    assert np.abs(run.command.position_rad[-1]).max() > 0.05


def test_a_range_of_time(bag):
    part = replay_bag(bag, dataclasses.replace(FROM_LANDMARKS, start_s=0.5, end_s=1.0))
    assert part.recording.frame_ns.tolist() == [frame_ns(n) for n in range(15, 31)]
    assert part.runs[0].command.time_ns[0] == frame_ns(15)
    assert part.recording.pictures(0) is not None


def test_a_picture_that_is_no_picture_is_a_frame_without_a_hand(tmp_path):
    found = list(pictures(12, '/camera/image_raw', raw_image))
    for number in (3, 4):
        found[number][2].step = 7
    replayed = replay_bag(write_bag(tmp_path / 'bag', found), ReplayOptions())
    assert replayed.runs[0].tracked.tolist() == [n not in (3, 4) for n in range(12)]
    assert np.isnan(replayed.runs[0].target.position_rad[3]).all()
    problem, = replayed.recording.problems
    assert 'step 7' in problem and '2 times' in problem
    assert replayed.recording.pictures(3) is None


def test_large_pictures_are_seen_like_small_ones_and_landmarks_lie_in_them(tmp_path):
    def double(picture, time_ns):
        return packed_image(cv2.resize(picture, None, fx=2, fy=2), time_ns)

    small = replay_bag(write_bag(tmp_path / 'small', pictures(12)), ReplayOptions())
    large = replay_bag(write_bag(tmp_path / 'large', pictures(12, make=double)), ReplayOptions())
    assert np.abs(large.runs[0].landmarks / 2 - small.runs[0].landmarks).mean() < 3.0


def test_a_lost_hand_is_a_hold_with_its_reason(tmp_path):
    found = [(t, at, packed_image(np.full((360, 640, 3), 90, np.uint8), frame_ns(n))
              if 20 <= n < 32 else m) for n, (t, at, m) in enumerate(pictures(45))]
    replayed = replay_bag(write_bag(tmp_path / 'bag', found), ReplayOptions())
    run, = replayed.runs
    assert not run.tracked[20:32].any()
    hold, = run.holds
    assert hold.reason == 'stale'
    # A target is used for 0.1 s after it came.
    assert hold.start_ns == pytest.approx(frame_ns(19) + 100_000_000, abs=20_000_000)
    assert frame_ns(32) <= hold.end_ns <= frame_ns(44)


# The same every time.

def test_the_same_bytes_twice_wherever_the_bag_lies(bag, tmp_path, replayed):
    moved = tmp_path / 'elsewhere' / 'bag'
    shutil.copytree(bag, moved)
    assert written(replay_bag(moved, BOTH)) == written(replayed)


def test_a_policy_is_scored_the_same_alone_and_among_others(bag, replayed):
    alone = replay_bag(bag, ReplayOptions(policies=('geometric',)))
    assert np.array_equal(
        alone.runs[0].command.position_rad, replayed.runs[0].command.position_rad)


def test_a_simulated_arm_moves_the_same_every_time(bag):
    options = dataclasses.replace(FROM_LANDMARKS, policies=('geometric',), simulate=True)
    first, second = (replay_bag(bag, options).runs[0] for _ in range(2))
    assert np.array_equal(first.measured.position_rad, second.measured.position_rad)


def test_following_does_not_depend_on_how_far_it_is_stepped_at_once():
    ends = []
    for steps in (1, 7):
        follower = Follower(TABLE, SafetyParameters(), IdealBehind(len(TABLE)), START_NS)
        for at_ns in np.linspace(START_NS, frame_ns(30), steps, endpoint=False)[1:]:
            follower.advance(int(at_ns))
        command, _, _, violations, _ = follower.finish(frame_ns(30))
        ends.append(command)
        assert violations == 0
    assert np.array_equal(ends[0].time_ns, ends[1].time_ns)


# What it refuses.

def broken_bags(folder):
    """Bags that cannot be scored, by a part of what must be said of them."""
    blank = np.full((360, 640, 3), 90, np.uint8)
    yield 'is empty', write_bag(folder / 'empty', [])
    yield "no pictures on 'camera/image_raw'.*'?/chatter", write_bag(
        folder / 'chatter', [('/chatter', START_NS, text('hello'))])
    yield 'no hand is seen in any of 3 pictures', write_bag(folder / 'nobody', [
        (t, at, packed_image(blank, frame_ns(n))) for n, (t, at, _) in enumerate(pictures(3))])
    yield 'none of 3 pictures can be read', write_bag(folder / 'torn', [
        (t, at, dataclasses.replace(m, data=m.data[:40])) for t, at, m in pictures(3)])
    cut = folder / 'cut'
    cut.mkdir()
    whole = next(write_bag(folder / 'whole', pictures(3)).glob('*.mcap')).read_bytes()
    (cut / 'cut.mcap').write_bytes(whole[:len(whole) // 10])
    yield 'no whole picture: .*breaks off', cut
    sqlite = folder / 'sqlite'
    sqlite.mkdir()
    (sqlite / 'bag.db3').write_bytes(b'SQLite format 3\x00' + bytes(500))
    yield 'no whole picture: .*damaged', sqlite


def test_what_cannot_be_scored_is_refused_in_a_line(tmp_path):
    for told, path in broken_bags(tmp_path):
        with pytest.raises(UserError) as caught:
            replay_bag(path, ReplayOptions())
        assert re.search(told, str(caught.value)), caught.value
        assert '\n' not in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize('change, told', [
    ({'landmarks': 'recorded'}, 'no landmarks'), ({'start_s': 99.0}, 'no picture from 99'),
    ({'policies': (RECORDED,)}, 'tells of no policy')])
def test_options_that_do_not_fit_the_bag(tmp_path, change, told):
    bag = write_bag(tmp_path / 'bag', pictures(3))
    with pytest.raises(UserError, match=told):
        replay_bag(bag, dataclasses.replace(ReplayOptions(), **change))


def test_several_bags_of_which_one_cannot_be_scored(tmp_path):
    paths = [write_bag(tmp_path / 'one', recording(12)), write_bag(tmp_path / 'two', [])]
    shares: list[float] = []
    found = replay_bags(paths, ReplayOptions(landmarks='recorded'), shares.append)
    assert [r.recording.source for r in found.replayed] == ['one']
    assert list(found.unscored) == ['two'] and 'is empty' in found.unscored['two']
    assert shares == sorted(shares) and shares[-1] == 1.0
    with pytest.raises(UserError, match='is empty'):
        replay_bags([paths[1]] * 2, ReplayOptions(), shares.append)


# The command.

@pytest.fixture
def command(monkeypatch, capsys):
    """Run `hand-imitation replay` in this process; gives exit code, stdout and stderr."""
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['hand-imitation', 'replay', *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_the_command_writes_a_report_and_the_same_metrics_twice(bag, tmp_path):
    texts = []
    for name in ('first', 'second'):
        done = subprocess.run(
            [sys.executable, '-m', 'hand_imitation', 'replay', bag, '--policy', 'geometric',
             '--policy', RECORDED, '--out', tmp_path / name],
            cwd=ROOT, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0 and 'geometric' in done.stdout
        assert 'Traceback' not in done.stderr
        assert {p.name for p in (tmp_path / name).iterdir()} == {
            'metrics.json', 'timing.json', 'report.html'}
        texts.append((tmp_path / name / 'metrics.json').read_bytes())
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert document['schema'] == 1 and list(document['policies']) == ['geometric', RECORDED]
    timing = json.loads((tmp_path / 'first' / 'timing.json').read_text())
    assert timing['mode'] == 'fast' and timing['bags']['bag']['frames'] == COUNT


def test_limits_and_baseline_decide_the_exit_code(command, bag, tmp_path):
    common = (bag, '--landmarks', 'recorded', '--json', '--out')
    code, out, _ = command(*common, tmp_path / 'a', '--fail-above', 'joint_error_deg.mean=90')
    assert code == 0
    value = json.loads(out)['policies'][DEFAULT_POLICY]['joint_error_deg']['mean']
    code, out, err = command(
        *common, tmp_path / 'b', '--fail-above',
        f'{DEFAULT_POLICY}.joint_error_deg.mean={value - 0.1}')
    assert code == 1 and f'missed: {DEFAULT_POLICY}: joint_error_deg.mean' in err
    assert json.loads(out) and (tmp_path / 'b' / 'report.html').exists()
    code, _, _ = command(*common, tmp_path / 'c', '--baseline', tmp_path / 'a' / 'metrics.json')
    assert code == 0
    code, out, err = command(*common, tmp_path / 'd', '--fail-below', 'joint_eror_deg.mean=1')
    assert code == 2 and out == '' and 'joint_error_deg' in err
    assert not (tmp_path / 'd').exists()


def test_mistakes_are_one_line_exit_code_2_and_nothing_written(command, bag, tmp_path):
    out = tmp_path / 'out'
    (tmp_path / 'folder').mkdir()
    cases = [
        ((tmp_path / 'nowhere',), 'no bag'), ((tmp_path / 'folder',), 'holds none'),
        ((bag, '--policy', 'wishful'), "no policy 'wishful'"),
        ((bag, '--policy', 'geometric', '--policy', 'geometric'), 'named twice'),
        ((bag, '--mode', 'slow'), 'choose fast or ros'),
        ((bag, '--landmarks', 'none'), 'choose perceived or recorded'),
        ((bag, '--topic', 'eye=/eye'), 'OURS=THEIRS'),
        ((bag, '--start', '2', '--end', '1'), 'not after'),
        ((bag, '--side', 'middle'), 'choose left or right'),
        ((bag, '--fail-above', 'lag'), 'metric=value'),
        ((bag, '--baseline', bag / 'metadata.yaml'), 'no metrics.json'),
        ((bag, '--ray', 'auto', '--mode', 'ros'), '--mode fast'),
        ((write_bag(tmp_path / 'empty', []),), 'is empty')]
    for arguments, told in cases:
        code, stdout, err = command(*arguments, '--out', out)
        lines = [line for line in err.splitlines() if line.startswith('error: ')]
        assert code == 2 and stdout == '' and len(lines) == 1 and told in lines[0], (told, err)
        assert not out.exists()
    other = tmp_path / 'other'
    other.mkdir()
    (other / 'thesis.txt').write_text('precious')
    code, _, err = command(bag, '--out', other)
    assert code == 2 and 'thesis.txt' in err and len(list(other.iterdir())) == 1


def test_a_folder_with_a_bad_bag_is_scored_and_told(command, tmp_path):
    bags = tmp_path / 'bags'
    bags.mkdir()
    for name in ('one', 'two'):
        write_bag(bags / name, recording(15))
    write_bag(bags / 'three', [])
    code, out, err = command(
        bags, '--landmarks', 'recorded', '--json', '--out', tmp_path / 'out')
    document = json.loads(out)
    assert code == 1 and 'not scored: three: ' in err
    assert [found['name'] for found in document['bags']] == ['one', 'two']
    assert list(document['unscored']) == ['three']
