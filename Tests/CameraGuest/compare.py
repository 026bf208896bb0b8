"""Compares what the guest's consumers saw with the video itself, bit for bit."""

import io
import json
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def avi_frames(path):
    """The JPEGs of a Motion JPEG AVI, by its own chunks."""
    data, frames = path.read_bytes(), []
    place = data.index(b"movi") + 4
    while data[place : place + 4] == b"00dc":
        (length,) = struct.unpack_from("<I", data, place + 4)
        frames.append(data[place + 8 : place + 8 + length])
        place += 8 + length + length % 2
    return frames


def captured(path):
    """The frames of a file of node.c, each once for as long as it stood still."""
    data, place, frames = path.read_bytes(), 0, []
    while place < len(data):
        (length,) = struct.unpack_from("<I", data, place)
        frame = data[place + 4 : place + 4 + length]
        if not frames or frames[-1] != frame:
            frames.append(frame)
        place += 4 + length
    return frames


def yuyv(jpeg):
    """BT.601 in the limited range, from the decoded pixels; written down from the standard, not from our code."""
    rgb = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(np.float64)
    luma = 16 + (65.481 * rgb[..., 0] + 128.553 * rgb[..., 1] + 24.966 * rgb[..., 2]) / 255
    pairs = (rgb[:, 0::2] + rgb[:, 1::2]) / 2
    blue = 128 + (-37.797 * pairs[..., 0] - 74.203 * pairs[..., 1] + 112 * pairs[..., 2]) / 255
    red = 128 + (112 * pairs[..., 0] - 93.786 * pairs[..., 1] - 18.214 * pairs[..., 2]) / 255
    out = np.empty((rgb.shape[0], rgb.shape[1] * 2), np.float64)
    out[:, 0::2], out[:, 1::4], out[:, 3::4] = luma, blue, red
    return out


def once(frames):
    return [frame for index, frame in enumerate(frames) if index == 0 or frames[index - 1] != frame]


def contains(seen, wanted, same):
    """Whether `wanted` stands in `seen` without a gap."""
    return any(
        all(same(a, b) for a, b in zip(seen[start : start + len(wanted)], wanted))
        for start in range(len(seen) - len(wanted) + 1)
    )


def same_yuyv(raw, wanted):
    # A consumer may be given more bytes than the frame has. Integer and real arithmetic part at exact halves only.
    got = np.frombuffer(raw[: wanted.size], np.uint8).reshape(wanted.shape)
    return bool(np.all(np.abs(got - wanted) <= 0.5 + 2e-2))


def resampled(picture, side):
    """The middle square, by a triangle filter as wide as a new pixel; real numbers, from docs/http.md."""
    height, width = picture.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    places = (np.arange(side)[:, None] + 0.5) * edge / side - 0.5 - np.arange(edge)[None, :]
    weights = np.maximum(0, 1 - np.abs(places) / max(1, edge / side))
    weights /= weights.sum(1, keepdims=True)
    middle = picture[top : top + edge, left : left + edge].astype(np.float64)
    return np.einsum("yv,xh,vhc->yxc", weights, weights, middle)


def compare_photograph(folder, expect):
    """The picture in the job against what the camera sends to anybody."""
    words = (folder / "camera.format").read_text().split()
    expect(words[:2] == ["reading", "RGB3"], f"the camera was left in a format that needs no conversion: {words}")
    width, height = (int(side) for side in words[2].split("x"))
    frames = captured(folder / "camera.frames")
    expect(len(frames) == 1, f"its picture stands still ({len(frames)} different frames)")
    picture = np.frombuffer(frames[0], np.uint8).reshape(height, width, 3)
    expect(len(np.unique(picture.reshape(-1, 3), axis=0)) >= 8, "and has colours")
    taken = np.frombuffer((folder / "input_reference.rgb").read_bytes(), np.uint8).reshape(64, 64, 3)
    off = np.abs(taken - resampled(picture, 64)).max()
    expect(off <= 0.5 + 2e-2, f"the job's picture is the camera's, brought to size ({off:.3f} from real numbers)")
    clip = np.frombuffer((folder / "video.rgb").read_bytes(), np.uint8).reshape(-1, 64, 64, 3)
    expect(len(clip) == 8 and all(np.array_equal(frame, taken) for frame in clip), f"a clip is {len(clip)} of them")
    for name in ("camera", "clip"):
        job = json.loads((folder / f"{name}.json").read_text())
        expect(job["status"] == "completed" and job["camera"] is True, f"{name}: the video says that a camera was used")
    for name, status, said in (
        ("unasked", 65, "consent"), ("taken", 0, "video_"), ("busy", 75, "another program has it"),
        ("stalled", 75, "nothing for"), ("again", 0, "video_"), ("gone", 75, "there is no such device"),
        ("back", 0, "video_"),
    ):
        text = (folder / f"{name}.txt").read_text()
        expect(said in text and f"status {status}\n" in text, f"{name}: {' '.join(text.split())}")


def main(folder):
    failures = []

    def expect(condition, words):
        print("ok  " if condition else "FAIL", words)
        if not condition:
            failures.append(words)

    source = once(avi_frames(folder / "video.avi"))
    print(f"{len(source)} different frames in the video")
    expect(len(source) > 4, "the video moves")
    seen = captured(folder / "yuyv.frames")
    expect(
        contains(seen, [yuyv(jpeg) for jpeg in source], same_yuyv),
        f"the daemon's camera showed the video in YUYV, frame by frame ({len(seen)} different frames seen)",
    )
    # Twice: between jobs it is shown again.
    wanted = [yuyv(jpeg) for jpeg in source]
    expect(contains(seen, wanted * 2, same_yuyv), "and again when it had ended, without a gap")
    seen = captured(folder / "mjpg.frames")
    expect(
        contains(seen, source, lambda raw, jpeg: raw[: len(jpeg)] == jpeg),
        f"watch --to showed the stored JPEGs, byte by byte ({len(seen)} different frames seen)",
    )
    before, after = (json.loads((folder / f"{name}.json").read_text()) for name in ("before", "after"))
    expect(after["status"] == "completed", "a job whose camera was unplugged is completed")
    expect(before["frames_sha256"] == after["frames_sha256"], "and has the same frames")
    state = json.loads((folder / "yuyv.json").read_text())["host"]["video_device"]
    expect(state["open"] and state["format"] == "YUYV 64x64" and state["sent"] > 16, f"/state tells it: {state}")
    state = json.loads((folder / "unplugged.json").read_text())["host"]["video_device"]
    expect(not state["open"] and "last_error" in state, f"/state tells that it is gone: {state}")
    compare_photograph(folder, expect)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
