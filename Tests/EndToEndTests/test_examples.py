"""The programs of examples/, as their users run them."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
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


@contextlib.contextmanager
def relay(daemon, *words):
    """relay.sh while three videos are made; then the source ends, and ffmpeg finishes what it has."""
    process = subprocess.Popen([str(EXAMPLES / "relay.sh"), *map(str, words)], env=settings(daemon), stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
    try:
        for seed in range(3):
            daemon.finish(daemon.create(seed=seed)["id"])
            time.sleep(1)
        yield
    finally:
        subprocess.run(["pkill", "-TERM", "-g", str(process.pid), "curl"], check=False)
        error = process.communicate(timeout=30)[1]
        print(error)


@needs_ffmpeg
def test_a_relay_of_whatever_is_made_feeds_hls(daemon, tmp_path):
    """HLS is written as a segmenter of a relay takes it."""
    playlist = tmp_path / "live.m3u8"
    with relay(daemon, playlist, "-f", "hls", "-hls_time", "1"):
        wait(lambda: playlist.exists() and ".ts" in playlist.read_text())
    assert "#EXT-X-ENDLIST" in playlist.read_text()
    assert int(stream(playlist)["nb_read_frames"]) >= 8


@needs_ffmpeg
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_relay_of_whatever_is_made_feeds_rtsp(daemon, tmp_path, transport):
    """ffmpeg plays the media server that the stream is announced to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    taken, address = tmp_path / "taken.mp4", f"rtsp://127.0.0.1:{port}/filoscope"
    server = subprocess.Popen(["ffmpeg", "-v", "error", "-y", "-rtsp_flags", "listen", "-i", address, "-c", "copy", taken],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        # To connect would use up its one connection: the kernel knows whether it listens.
        wait(lambda: re.search(f":{port:04X} 00000000:0000 0A ", pathlib.Path("/proc/net/tcp").read_text()))
        with relay(daemon, address, "-f", "rtsp", "-rtsp_transport", transport):
            assert server.poll() is None
        # It ends by itself when the stream does.
        error = server.communicate(timeout=60)[1]
    finally:
        server.kill()
        server.wait()
    found = stream(taken)
    assert found["codec_name"] == "h264" and found["width"] == 256 and int(found["nb_read_frames"]) >= 8, error


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


def test_the_one_liner_for_a_gpio_line(daemon, tmp_path):
    """The command of the documentation, on another file."""
    line, = re.findall(r"^tail .*$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    pin = tmp_path / "pin"
    pin.write_text("before\n")
    shell = subprocess.Popen(["sh", "-c", line.replace("/run/doorbell", str(pin))], env=settings(daemon), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, start_new_session=True)
    made = lambda: daemon.json("GET", "/v1/videos")["data"]
    try:
        time.sleep(2)
        assert made() == []
        for count in (1, 2):
            with pin.open("a") as file:
                file.write("1\n")
            wait(lambda: len(made()) == count)
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        said = shell.communicate(timeout=30)[0]
    assert {video["id"] for video in made()} == set(said.split()), said
    assert all(video["prompt"] == "a dog jumping on the grass" for video in made())


@pytest.mark.parametrize("major", [2, 3])
def test_python_and_the_official_sdk(daemon, tmp_path, major):
    run(daemon, environment(major), EXAMPLES / "sdk.py", PROMPT, tmp_path / "video.mp4")
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"
    refused = subprocess.run([environment(major), EXAMPLES / "sdk.py", "x" * 2001, tmp_path / "none.mp4"], env=settings(daemon),
                             capture_output=True, text=True)
    assert refused.returncode == 1 and "at most 2000" in refused.stderr and not (tmp_path / "none.mp4").exists()


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
