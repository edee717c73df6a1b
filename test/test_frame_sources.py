"""Pictures from real files of every kind, and from files that are none."""

import hashlib
import json

import av
import cv2
import numpy as np
import pytest
from shared_data import real_hands

from hand_imitation.errors import UserError
from hand_imitation.frame_sources import (
    SAMPLE,
    ImageFolder,
    VideoFile,
    open_source,
    read_image,
    shrunk,
    truth_path,
)

GREYS = (20, 80, 140, 200)


def grey(level, size=(64, 48)):
    return np.full((size[1], size[0], 3), level, np.uint8)


def make_video(path, codec, rate_hz=25):
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate_hz)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = 'rgb8' if codec == 'gif' else 'yuv420p'
        for level in GREYS:
            frame = av.VideoFrame.from_ndarray(grey(level), format='bgr24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def levels(source):
    """Mean brightness of every picture to the end."""
    found = []
    while (picture := source.read()) is not None:
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        found.append(float(picture.mean()))
    return found


def refusal(source):
    with pytest.raises(UserError) as caught:
        open_source(str(source))
    text = str(caught.value)
    assert '\n' not in text and ': ' in text  # what is wrong: what to do
    return text


@pytest.mark.parametrize('name, codec', [
    ('clip.mp4', 'libx264'), ('clip.avi', 'mpeg4'), ('clip.gif', 'gif')])
def test_video_is_read_to_its_end_and_again(tmp_path, name, codec):
    source = open_source(str(make_video(tmp_path / name, codec)))
    assert not source.live and source.truth is None
    assert source.frame_count == len(GREYS)
    assert source.rate_hz == pytest.approx(25.0)
    assert levels(source) == pytest.approx(GREYS, abs=20.0)
    assert source.read() is None
    source.rewind()
    assert levels(source) == pytest.approx(GREYS, abs=20.0)
    source.close()


def test_colours_are_blue_green_red(tmp_path):
    """The order OpenCV and the camera topic use."""
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[..., 0] = 200
    cv2.imwrite(str(tmp_path / 'blue.png'), blue)
    picture = open_source(str(tmp_path)).read()
    assert picture[10, 10].tolist() == [200, 0, 0]


def test_real_gif():
    source = open_source(str(real_hands('seed_3pose.gif')))
    assert len(levels(source)) == source.frame_count == 33


def test_real_video():
    source = open_source(str(real_hands('human_hand_video.mp4')))
    assert (source.frame_count, source.rate_hz) == (621, 30.0)
    assert source.read().shape == (720, 1280, 3)
    source.close()


def test_images_of_a_folder_come_in_the_order_of_their_names(tmp_path):
    for name, level in zip(('b.png', 'a.jpg', 'd.BMP', 'c.jpeg'), GREYS, strict=True):
        cv2.imwrite(str(tmp_path / name.lower()), grey(level))
        (tmp_path / name.lower()).rename(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('not an image')
    source = open_source(str(tmp_path))
    assert isinstance(source, ImageFolder) and source.frame_count == 4 and not source.live
    assert levels(source) == pytest.approx([GREYS[1], GREYS[0], GREYS[3], GREYS[2]], abs=2.0)
    source.rewind()
    assert len(levels(source)) == 4


def test_broken_images_in_a_folder_are_passed_over(tmp_path):
    cv2.imwrite(str(tmp_path / 'b.png'), grey(50))
    (tmp_path / 'a.png').write_text('not an image')
    (tmp_path / 'c.png').write_bytes(b'')
    (tmp_path / 'd.png').mkdir()
    assert levels(open_source(str(tmp_path))) == pytest.approx([50.0])


def test_sample_comes_with_its_truth():
    source = open_source('sample')
    assert isinstance(source, VideoFile) and not source.live
    assert len(source.truth.names) == 12
    assert source.truth.positions_rad.shape == (source.frame_count, 12)
    assert np.isfinite(source.truth.positions_rad).all()
    assert SAMPLE.stat().st_size < 1.5e6
    source.close()


def test_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    make_video(tmp_path / 'clip.mp4', 'libx264')
    assert open_source('~/clip.mp4').frame_count == len(GREYS)


# What is no source.

def test_no_such_file(tmp_path):
    text = refusal(tmp_path / 'nowhere.mp4')
    assert 'no such source' in text and 'sample' in text and 'nowhere.mp4' in text


@pytest.mark.parametrize('content', [b'this is text\n', b'', b'\0' * 5000])
def test_file_that_is_no_video(tmp_path, content, capfd):
    path = tmp_path / 'text.mp4'
    path.write_bytes(content)
    assert 'not a video' in refusal(path)
    assert capfd.readouterr() == ('', '')  # no second opinion of the decoder's


def test_video_cut_short(tmp_path):
    path = make_video(tmp_path / 'clip.mp4', 'libx264')
    path.write_bytes(path.read_bytes()[:200])
    assert 'not a video' in refusal(path)


def test_empty_folder(tmp_path):
    assert 'no images in folder' in refusal(tmp_path)
    (tmp_path / 'notes.txt').write_text('not an image')
    assert 'no images in folder' in refusal(tmp_path)


def test_folder_of_broken_images_only(tmp_path):
    (tmp_path / 'a.png').write_text('not an image')
    assert 'a.png' in refusal(tmp_path)


@pytest.mark.parametrize('source', ['97', '/dev/video97'])
def test_camera_that_is_not_there(source):
    text = refusal(source)
    assert "no camera '/dev/video97'" in text and 'found: ' in text and 'sample' in text


# The truth beside a video.

def with_truth(folder, **changes):
    video = make_video(folder / 'clip.mp4', 'libx264')
    content = {
        'joints': ['wrist', 'elbow'], 'angles_rad': [[0.1 * k, -0.1] for k in range(4)],
        'sha256': hashlib.sha256(video.read_bytes()).hexdigest(), 'fps': 25, **changes}
    truth_path(video).write_text(json.dumps(content))
    return video


def test_truth_beside_a_video_is_read(tmp_path):
    video = with_truth(tmp_path)
    assert truth_path(video).name == 'clip_truth.json'
    truth = open_source(str(video)).truth
    assert truth.names == ('wrist', 'elbow')
    assert truth.positions_rad == pytest.approx(np.array([[0.1 * k, -0.1] for k in range(4)]))


@pytest.mark.parametrize('changes, reason', [
    ({'sha256': '0' * 64}, 'another video'),
    ({'angles_rad': [[0.1]] * 4}, 'do not match'),
    ({'angles_rad': [[0.1, 'x']] * 4}, 'cannot be used'),
    ({'angles_rad': None}, 'cannot be used'),
    ({'angles_rad': [[0.1, float('nan')]] * 4}, 'not finite'),
    ({'joints': 3}, 'cannot be used'),
])
def test_truth_that_does_not_fit_is_refused(tmp_path, changes, reason):
    text = refusal(with_truth(tmp_path, **changes))
    assert reason in text and 'clip_truth.json' in text


@pytest.mark.parametrize('content', ['not JSON', '[]', '{}', '[' * 100_000])
def test_truth_that_is_none_is_refused(tmp_path, content):
    video = with_truth(tmp_path)
    truth_path(video).write_text(content)
    assert 'clip_truth.json' in refusal(video)


# Single images and sizes.

def test_read_image(tmp_path):
    path = tmp_path / 'größe 1.png'
    cv2.imencode('.png', grey(90))[1].tofile(path)
    assert read_image(path).shape == (48, 64, 3)
    (tmp_path / 'text.jpg').write_text('not an image')
    (tmp_path / 'empty.jpg').write_bytes(b'')
    for name in ('text.jpg', 'empty.jpg', 'nowhere.jpg', '.'):
        assert read_image(tmp_path / name) is None


@pytest.mark.parametrize('size, width, expected', [
    ((1280, 720), 640, (640, 360)), ((720, 1280), 360, (360, 640)), ((641, 479), 320, (320, 239)),
    ((320, 240), 640, (320, 240)), ((320, 240), 320, (320, 240)), ((1280, 720), 0, (1280, 720)),
    ((4000, 1), 640, (640, 1))])
def test_shrunk_keeps_proportions_and_never_enlarges(size, width, expected):
    picture = shrunk(grey(100, size), width)
    assert (picture.shape[1], picture.shape[0]) == expected
    assert picture.mean() == pytest.approx(100.0)


def test_shrunk_averages():
    """A checkerboard becomes grey, and not the colour of whichever pixel was hit."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    assert shrunk(np.dstack([board.astype(np.uint8)] * 3), 16) == pytest.approx(127.5, abs=1.0)
