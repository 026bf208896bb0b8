"""The programs of examples/, as their users run them."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import BIN, ROOT

from test_openai_sdk import environment

EXAMPLES = ROOT / "examples"
PROMPT = "a rocket rising up at sunset"
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffprobe is not installed")


def settings(daemon, **more):
    return {**os.environ, "FILOSCOPE_SOCKET": str(daemon.socket), "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def run(daemon, *command, **more):
    result = subprocess.run([str(word) for word in command], env=settings(daemon, **more), capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result


def stream(file):
    said = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", file], capture_output=True, check=True)
    return json.loads(said.stdout)["streams"][0]


def wait(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@needs_ffmpeg
def test_a_relay_of_one_video(daemon, tmp_path):
    video = daemon.create(steps=50, seconds=8)
    run(daemon, EXAMPLES / "relay.sh", tmp_path / "previews.mp4", ID=video["id"], FPS="10", WIDTH="128")
    found = stream(tmp_path / "previews.mp4")
    assert found["codec_name"] == "h264" and found["width"] == 128 and int(found["nb_read_frames"]) >= 1


@needs_ffmpeg
def test_a_relay_of_whatever_is_made_feeds_hls(daemon, tmp_path):
    """HLS is written as a segmenter of a relay takes it; an RTSP output differs by its options alone."""
    playlist = tmp_path / "live.m3u8"
    relay = subprocess.Popen([str(EXAMPLES / "relay.sh"), str(playlist), "-f", "hls", "-hls_time", "1"], env=settings(daemon),
                             stderr=subprocess.PIPE, start_new_session=True)
    try:
        for seed in range(3):
            daemon.finish(daemon.create(seed=seed)["id"])
            time.sleep(1)
        wait(lambda: playlist.exists() and ".ts" in playlist.read_text())
    finally:
        # The source ends: ffmpeg finishes what it has.
        subprocess.run(["pkill", "-TERM", "-g", str(relay.pid), "curl"], check=True)
        error = relay.communicate(timeout=30)[1].decode()
    assert "#EXT-X-ENDLIST" in playlist.read_text(), error
    assert int(stream(playlist)["nb_read_frames"]) >= 8


def test_a_trigger_file_makes_a_video(daemon, tmp_path):
    door, video = tmp_path / "door", tmp_path / "door.mp4"
    door.write_text("0")
    trigger = subprocess.Popen([str(EXAMPLES / "trigger.sh"), str(door), PROMPT], env=settings(daemon, VIDEO=str(video)),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        time.sleep(2)
        assert not video.exists()
        door.write_text("1")
        wait(video.exists)
    finally:
        os.killpg(trigger.pid, signal.SIGTERM)
        said = trigger.communicate(timeout=30)[0].decode()
    assert video.read_bytes()[4:8] == b"ftyp", said


def test_python_and_httpx(daemon, tmp_path):
    said = run(daemon, environment(2), EXAMPLES / "generate.py", PROMPT, tmp_path / "video.mp4")
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp" and "%" in said.stderr
    refused = subprocess.run([environment(2), EXAMPLES / "generate.py", "", tmp_path / "none.mp4"], env=settings(daemon),
                             capture_output=True, text=True)
    assert refused.returncode == 1 and "prompt is empty" in refused.stderr and not (tmp_path / "none.mp4").exists()


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_node(daemon, tmp_path):
    run(daemon, "node", EXAMPLES / "watch.mjs", PROMPT, tmp_path)
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"
    previews = sorted(tmp_path.glob("preview-*.jpg"))
    assert len(previews) >= 4 and all(picture.read_bytes()[:2] == b"\xff\xd8" for picture in previews)


def test_the_framebuffer(daemon, tmp_path):
    """A file stands for the device: pixels of four bytes, and a stride beyond the width as drivers have it."""
    width, height, stride = 96, 64, 96 * 4 + 64
    facts = {"virtual_size": f"{width},{height}", "stride": str(stride), "bits_per_pixel": "32"}
    for name, text in facts.items():
        (tmp_path / name).write_text(text + "\n")
    screen = tmp_path / "fb0"
    screen.write_bytes(bytes(stride * height))
    viewer = subprocess.Popen([sys.executable, EXAMPLES / "framebuffer.py", screen], env=settings(daemon, FRAMEBUFFER_FACTS=str(tmp_path)),
                              stderr=subprocess.PIPE)
    try:
        daemon.finish(daemon.create(prompt="a red apple bouncing on a white background")["id"])
        wait(lambda: any(screen.read_bytes()))
    finally:
        viewer.kill()
        error = viewer.communicate()[1].decode()
    pixels = screen.read_bytes()
    rows = [pixels[y * stride:(y + 1) * stride] for y in range(height)]
    assert all(any(row[16 * 4:80 * 4]) for row in rows), error
    assert not any(any(row[:16 * 4]) or any(row[80 * 4:]) for row in rows), "beside the picture"
