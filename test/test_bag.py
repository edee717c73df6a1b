"""Bags of every kind, whole and broken."""

import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip('rosbags')

from bag_rig import (  # noqa: E402
    COMPRESSED,
    IMAGE,
    START_NS,
    STORAGES,
    TABLE,
    TYPES,
    frame_ns,
    joint_state,
    kind,
    packed_image,
    pictures,
    raw_image,
    recording,
    sample_pictures,
    text,
    trajectory,
    write_bag,
)

from hand_imitation.errors import UserError  # noqa: E402
from hand_imitation.evaluation.bag import (  # noqa: E402
    Bag,
    bags_in,
    decode,
    decoded,
    header_stamp_ns,
    matching_name,
    messages,
)
from hand_imitation.evaluation.bag_contents import Contents, read_contents  # noqa: E402
from hand_imitation.evaluation.bag_files import RawMessage  # noqa: E402
from hand_imitation.evaluation.pictures import (  # noqa: E402
    BadPicture,
    compressed_picture,
    declared_pixels,
    raw_picture,
)

COUNT = 6


def contents_of(path: Path, **remaps: str) -> Contents:
    return read_contents(Bag(path), TABLE, {
        name.replace('__', '/'): topic for name, topic in remaps.items()})


def everything(path: Path) -> tuple[list, Bag]:
    bag = Bag(path)
    return [message for message, _ in bag.scan(lambda topic, kind: True)], bag


# Pictures of every kind.

def lossless(number: int, gray: bool) -> np.ndarray:
    picture = sample_pictures()[number]
    if not gray:
        return picture
    return np.repeat(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2)


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'mono8'])
@pytest.mark.parametrize('pad', [0, 13])
def test_raw_pictures_are_read_as_they_were(tmp_path, storage, encoding, pad):
    bag = write_bag(tmp_path / 'bag', pictures(
        3, '/camera/image_raw', lambda p, t: raw_image(p, t, encoding, pad)), storage)
    found = contents_of(bag).pictures
    assert found.stamps_ns.tolist() == [frame_ns(n) for n in range(3)]
    for number in (2, 0, 1):  # in any order
        assert np.array_equal(found(number), lossless(number, encoding == 'mono8'))


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('suffix, most', [('.png', 0), ('.jpg', 3.0)])
def test_compressed_pictures(tmp_path, storage, suffix, most):
    bag = write_bag(tmp_path / 'bag', pictures(
        3, '/camera/image_raw/compressed', lambda p, t: packed_image(p, t, suffix)), storage)
    found = contents_of(bag).pictures
    for number in range(3):
        difference = np.abs(found(number).astype(int) - sample_pictures()[number])
        assert difference.mean() <= most


def test_chunks_compressed_by_the_storage(tmp_path):
    """As `ros2 bag record` does with one of mcap's presets."""
    from mcap.writer import CompressionType, Writer

    for compression in CompressionType:
        folder = tmp_path / compression.name
        folder.mkdir()
        with (folder / 'a.mcap').open('wb') as file:
            writer = Writer(file, compression=compression)
            writer.start('ros2')
            schema = writer.register_schema(COMPRESSED, 'ros2msg', b'')
            channel = writer.register_channel('/camera/image_raw/compressed', 'cdr', schema)
            for _, time_ns, message in pictures(3):
                writer.add_message(
                    channel, time_ns, bytes(TYPES.serialize_cdr(message, COMPRESSED)), time_ns)
            writer.finish()
        found = contents_of(folder)
        assert len(found.pictures) == 3 and found.pictures(2) is not None
        assert not found.bag.truncated


@pytest.mark.parametrize('change', [
    {'height': 100_000}, {'width': 100_000}, {'step': 2}, {'encoding': 'hsv12'}, {'height': 0},
    {'encoding': 'bayer_rggb8'}])
def test_pictures_whose_sizes_do_not_fit_are_refused(change):
    message = raw_image(sample_pictures()[0], START_NS)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(BadPicture):
        raw_picture(message)


def test_a_small_file_that_says_it_is_huge_is_refused_unread():
    for suffix, size_at in (('.jpg', None), ('.png', 16)):
        data = bytearray(cv2.imencode(suffix, sample_pictures()[0])[1].tobytes())
        height, width = sample_pictures()[0].shape[:2]
        assert declared_pixels(bytes(data)) == height * width
        if size_at is None:
            size_at = data.find(b'\xff\xc0') + 5
            data[size_at:size_at + 4] = (30_000).to_bytes(2, 'big') * 2
        else:
            data[size_at:size_at + 8] = (30_000).to_bytes(4, 'big') * 2
        with pytest.raises(BadPicture, match='67 megapixels'):
            compressed_picture(bytes(data))


def test_one_bad_picture_is_left_out_and_told(tmp_path):
    found = list(pictures(3, '/camera/image_raw', raw_image))
    found[1][2].step = 5
    contents = contents_of(write_bag(tmp_path / 'bag', found))
    assert contents.pictures(0) is not None and contents.pictures(1) is None
    assert 'step 5' in next(iter(contents.pictures.unreadable))


# Topics.

@pytest.mark.parametrize('topic, name', [
    ('/joint_states', 'joint_states'), ('/arm_1/joint_states', 'joint_states'),
    ('/truth/joint_states', 'truth/joint_states'),
    ('/a/b/policy/joint_trajectory', 'policy/joint_trajectory'),
    ('/joint_trajectory', 'joint_trajectory'),
    ('/camera/image_raw/compressed', 'camera/image_raw'),
    ('/arm_camera/image_raw', 'arm_camera/image_raw'), ('/other_joint_states', None)])
def test_the_longest_name_that_fits_counts(topic, name):
    assert matching_name(topic) == name


def test_messages_keeps_truth_and_measured_apart(tmp_path):
    bag = write_bag(tmp_path / 'bag', recording(COUNT))
    found = [m for name, m in messages(bag, {'joint_states': 'states'}) if name == 'states']
    assert len(found) == sum(t == '/joint_states' for t, _, _ in recording(COUNT))


@pytest.mark.parametrize('storage', STORAGES)
def test_a_whole_recording_in_a_namespace(tmp_path, storage):
    extra = [('/chatter', START_NS, text('hello')), ('/bench/odd', START_NS, text('?'))]
    bag = write_bag(tmp_path / 'bag', [*recording(COUNT, '/bench'), *extra], storage)
    contents = contents_of(bag)
    assert len(contents.pictures) == len(contents.targets) == len(contents.truth) == COUNT
    assert len(contents.states) == len(contents.commands) == COUNT * 100 // 30 + 5
    assert contents.hands.stamps_ns.tolist() == [frame_ns(n) for n in range(COUNT)]
    assert contents.problems == {} and contents.bag.problems == []
    assert not contents.bag.truncated


def test_remapped_topics(tmp_path):
    found = [(topic.replace('/camera/image_raw/compressed', '/eye').replace('/joint_states', '/j'),
              time_ns, message) for topic, time_ns, message in recording(COUNT)]
    contents = contents_of(write_bag(tmp_path / 'bag', found), joint_states='/j')
    assert len(contents.states) == COUNT * 100 // 30 + 5
    assert len(contents.pictures) == COUNT  # the only image topic needs no remapping
    assert contents.truth is None  # its name is '/truth/j' now


def test_two_cameras_need_a_choice(tmp_path):
    bag = write_bag(tmp_path / 'bag', [*pictures(2, '/a/image'), *pictures(2, '/b/image')])
    with pytest.raises(UserError, match='--topic camera/image_raw='):
        contents_of(bag)
    assert len(contents_of(bag, camera__image_raw='/b/image').pictures) == 2


def test_two_arms_are_kept_apart_by_the_namespace_of_the_pictures(tmp_path):
    there = [m for m in recording(2, '/two') if m[0].startswith('/two/joint_states')]
    contents = contents_of(write_bag(tmp_path / 'bag', [*recording(COUNT, '/one'), *there]))
    assert len(contents.states) == COUNT * 100 // 30 + 5


def test_a_remapped_topic_must_be_there_and_of_the_right_type(tmp_path):
    bag = write_bag(tmp_path / 'bag', [*pictures(2), ('/chatter', START_NS, text('x'))])
    with pytest.raises(UserError, match="has no topic '/eye'.*/camera/image_raw"):
        contents_of(bag, camera__image_raw='/eye')
    with pytest.raises(UserError, match="'/chatter' is of type std_msgs/msg/String"):
        contents_of(bag, camera__image_raw='/chatter')


def test_a_topic_of_ours_with_another_type_is_left_out_and_told(tmp_path):
    bag = write_bag(tmp_path / 'bag', [
        *pictures(2), ('/joint_states', START_NS, text('x')), ('/latency', START_NS, text('x'))])
    contents = contents_of(bag)
    assert contents.states is None and contents.stages == {}
    assert {problem.split("'")[1] for problem in contents.problems} == {
        '/joint_states', '/latency'}


def test_messages_that_make_no_sense_are_left_out_and_told(tmp_path):
    bad = [
        ('/joint_states', START_NS, joint_state(TABLE.names, np.zeros(3), START_NS)),
        ('/joint_states', START_NS, joint_state(['x'], np.zeros(1), START_NS)),
        ('/policy/joint_trajectory', START_NS,
         kind('trajectory_msgs/msg/JointTrajectory')(trajectory([], []).header, [], []))]
    contents = contents_of(write_bag(tmp_path / 'bag', [*pictures(2), *bad]))
    assert sum(contents.problems.values()) == 3
    assert len(contents.states) == 0


def test_joints_are_matched_by_name_behind_any_prefix(tmp_path):
    names = [f'left_{name}' for name in reversed(TABLE.names)] + ['base_wheel']
    values = np.arange(13.0)
    bag = write_bag(tmp_path / 'bag', [
        *pictures(2), ('/joint_states', START_NS, joint_state(names, values, START_NS))])
    found = contents_of(bag).states.series(0, 2 * START_NS)
    assert found.position_rad[0].tolist() == values[:12][::-1].tolist()


def test_pictures_come_in_the_order_of_their_stamps_each_once(tmp_path):
    found = list(pictures(4))
    shuffled = [found[i] for i in (2, 0, 3, 1, 0)]
    bag = write_bag(tmp_path / 'bag', [
        (topic, START_NS + place, message) for place, (topic, _, message) in enumerate(shuffled)])
    contents = contents_of(bag)
    assert contents.pictures.stamps_ns.tolist() == [frame_ns(n) for n in range(4)]


@pytest.mark.parametrize('byte_order', ['little', 'big'])
def test_the_stamp_is_read_without_the_rest(byte_order):
    message = raw_image(sample_pictures()[0], frame_ns(7))
    data = bytes(TYPES.serialize_cdr(message, IMAGE, little_endian=byte_order == 'little'))
    assert header_stamp_ns(data) == frame_ns(7)


# Broken bags.

def cut(bag: Path, share: float) -> Path:
    """Cut the only file of a bag short, as a crash leaves it, without metadata."""
    copy = bag.with_name(f'cut_{share}')
    copy.mkdir()
    file, = bag.glob('*.mcap')
    data = file.read_bytes()
    (copy / file.name).write_bytes(data[:int(len(data) * share)])
    return copy


def test_a_cut_mcap_is_read_up_to_the_break(tmp_path):
    bag = write_bag(tmp_path / 'bag', recording(20))
    whole, _ = everything(bag)
    counts = []
    for share in np.linspace(0.0, 0.999, 41):
        found, opened = everything(cut(bag, share))
        assert [m.data for m in found] == [m.data for m in whole[:len(found)]]
        assert opened.truncated
        assert any('breaks off' in p or 'no MCAP' in p for p in opened.problems)
        counts.append(len(found))
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == len(whole)
    assert len(set(counts)) > 20  # not only whole chunks


def test_what_is_found_in_a_cut_file_can_be_read_again(tmp_path):
    opened = Bag(cut(write_bag(tmp_path / 'bag', pictures(20)), 0.7))
    found = list(opened.scan(lambda topic, kind: True))
    assert found
    for message, file in reversed(found):
        assert opened.read(file, message.place) == message.data


def test_after_the_recorder_was_killed(tmp_path):
    """SIGKILL while `rosbags` writes: no metadata, no index."""
    program = (
        'import os, signal, sys\n'
        'sys.path.insert(0, sys.argv[2])\n'
        'from pathlib import Path\n'
        'from bag_rig import recording, write_bag\n'
        'def dying():\n'
        '    yield from recording(50)\n'
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
        'write_bag(Path(sys.argv[1]), dying())\n')
    bag = tmp_path / 'bag'
    done = subprocess.run(
        [sys.executable, '-c', program, str(bag), str(Path(__file__).parent)], timeout=60)
    assert done.returncode == -9
    assert not (bag / 'metadata.yaml').exists()
    contents = contents_of(bag)
    assert contents.bag.truncated
    assert 5 < len(contents.pictures) < 50
    assert contents.pictures(len(contents.pictures) - 1) is not None


@pytest.mark.parametrize('storage', STORAGES)
@pytest.mark.parametrize('content', [None, '', '{', 'a: [1', 'rosbag2_bagfile_information: 3',
                                     '&a [*a]', '\x00'])
def test_metadata_is_not_needed(tmp_path, storage, content):
    bag = write_bag(tmp_path / 'bag', pictures(3), storage)
    (bag / 'metadata.yaml').unlink()
    if content is not None:
        (bag / 'metadata.yaml').write_text(content)
    contents = contents_of(bag)
    assert len(contents.pictures) == 3
    assert 'metadata.yaml' in contents.bag.problems[0]


def test_a_missing_file_of_several_is_told(tmp_path):
    bag = write_bag(tmp_path / 'bag', pictures(3))
    metadata = yaml.safe_load((bag / 'metadata.yaml').read_text())
    metadata['rosbag2_bagfile_information']['relative_file_paths'].append('bag_1.mcap')
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(metadata))
    _, opened = everything(bag)
    assert opened.truncated and "'bag_1.mcap'" in opened.problems[0]


def test_files_of_a_bag_are_read_in_the_order_of_their_numbers(tmp_path):
    bag = tmp_path / 'bag'
    bag.mkdir()
    for number in (10, 2, 0):
        one = write_bag(tmp_path / str(number), [
            ('/camera/image_raw/compressed', START_NS,
             packed_image(sample_pictures()[0], frame_ns(number)))])
        shutil.copy(next(one.glob('*.mcap')), bag / f'bag_{number}.mcap')
    found, _ = everything(bag)
    assert [header_stamp_ns(message.data) for message in found] == [
        frame_ns(number) for number in (0, 2, 10)]


def test_a_damaged_sqlite_file_is_read_up_to_the_damage(tmp_path):
    bag = write_bag(tmp_path / 'bag', pictures(20), 'sqlite3')
    file, = bag.glob('*.db3')
    whole, _ = everything(bag)
    data = bytearray(file.read_bytes())
    data[len(data) // 2:] = bytes(len(data) - len(data) // 2)
    file.write_bytes(data)
    found, opened = everything(bag)
    assert 0 < len(found) < len(whole)
    assert [m.data for m in found] == [m.data for m in whole[:len(found)]]
    assert opened.truncated and 'damaged' in opened.problems[0]


def test_a_file_that_is_no_database(tmp_path):
    bag = tmp_path / 'bag'
    bag.mkdir()
    (bag / 'bag.db3').write_bytes(b'this is no database' * 100)
    found, opened = everything(bag)
    assert found == [] and opened.truncated and 'damaged' in opened.problems[-1]


def test_a_database_with_values_of_other_types(tmp_path):
    bag = write_bag(tmp_path / 'bag', pictures(4), 'sqlite3')
    connection = sqlite3.connect(next(bag.glob('*.db3')))
    connection.execute("UPDATE messages SET data = 'text' WHERE id = 1")
    connection.execute("UPDATE messages SET timestamp = 'late' WHERE id = 2")
    connection.commit()
    connection.close()
    found, _ = everything(bag)
    assert len(found) == 2


@pytest.mark.parametrize('storage', STORAGES)
def test_whatever_is_damaged_nothing_breaks(tmp_path, storage):
    """Flipped bytes anywhere: a clear word or fewer messages, never another error."""
    bag = write_bag(tmp_path / 'bag', recording(2), storage)
    file = next(path for path in bag.iterdir() if path.suffix in ('.mcap', '.db3'))
    data = file.read_bytes()
    numbers = random.Random(1)
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(numbers.choice((1, 3, 30))):
            broken[numbers.randrange(len(broken))] = numbers.randrange(256)
        file.write_bytes(broken)
        try:
            contents = contents_of(bag)
            for number in range(len(contents.pictures) if contents.pictures else 0):
                contents.pictures(number)
        except UserError:
            continue


def test_sizes_in_a_damaged_file_are_not_believed(tmp_path):
    bag = tmp_path / 'bag'
    bag.mkdir()
    record = bytes([0x06]) + (1 << 60).to_bytes(8, 'little')
    (bag / 'bag.mcap').write_bytes(b'\x89MCAP0\r\n' + record + bytes(100))
    found, opened = everything(bag)
    assert found == [] and opened.truncated and 'damaged at byte 8' in opened.problems[-1]


def test_messages_of_random_bytes_are_refused():
    numbers = random.Random(2)
    for name in (IMAGE, COMPRESSED, 'sensor_msgs/msg/JointState',
                 'visualization_msgs/msg/MarkerArray', 'diagnostic_msgs/msg/DiagnosticArray'):
        for length in (0, 3, 12, 200):
            data = bytes([0, 1, 0, 0]) + numbers.randbytes(length)
            with pytest.raises(ValueError):
                decoded(RawMessage('/t', name, 0, data, (0, 0, 0)))
                raise ValueError('some random bytes are a message')


# Which bags.

def test_a_folder_of_bags(tmp_path):
    for name in ('b_10', 'b_2'):
        write_bag(tmp_path / name, pictures(1))
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'readme.txt').write_text('no bag')
    assert [path.name for path in bags_in(tmp_path)] == ['b_2', 'b_10']
    assert bags_in(tmp_path / 'b_2') == [tmp_path / 'b_2']
    file = next((tmp_path / 'b_2').glob('*.mcap'))
    assert bags_in(file) == [file]
    assert len(everything(file)[0]) == 1


@pytest.mark.parametrize('name, told', [
    ('nowhere', 'no bag'), ('empty', 'holds none'), ('metadata', 'no .mcap or .db3 file'),
    ('packed', 'compressed by rosbag2'), ('text.txt', 'no .mcap or .db3 file')])
def test_what_is_no_bag_is_refused_in_a_line(tmp_path, name, told):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.txt').write_text('no bag')
    for folder, file in (('metadata', 'metadata.yaml'), ('packed', 'bag_0.mcap.zstd')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text('')
    with pytest.raises(UserError, match=told):
        Bag(bags_in(tmp_path / name)[0])


@pytest.mark.parametrize('length', range(9))
def test_bytes_that_rclpy_leaves_behind_a_message_do_not_matter(length):
    serialization = pytest.importorskip('rclpy.serialization')
    from sensor_msgs.msg import JointState

    message = JointState(name=['a' * length], position=[1.5])
    read = decode(serialization.serialize_message(message), 'sensor_msgs/msg/JointState')
    assert list(read.name) == message.name and list(read.position) == [1.5]
