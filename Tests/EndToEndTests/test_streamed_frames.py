"""Finished frames can be shown while later ones are made."""
import base64
import struct

WHOLE = {"Last-Event-ID": "0"}


def avi_frames(data):
    place, frames = data.index(b"movi") + 4, []
    while data[place:place + 4] == b"00dc":
        (length,) = struct.unpack_from("<I", data, place + 4)
        frames.append(data[place + 8:place + 8 + length])
        place += 8 + length + length % 2
    return frames


def streamed(events):
    """The JPEGs of all video.frames, which must come in order, and the steps that were done when each came."""
    jpegs, steps, step = [], [], 0
    for name, data in events:
        if name == "video.progress":
            step = data["step"]
        if name == "video.frames":
            assert data["first"] == len(jpegs) and len(data["b64_jpegs"]) == data["count"] > 0, data
            jpegs += [base64.b64decode(jpeg) for jpeg in data["b64_jpegs"]]
            steps += [step] * data["count"]
    return jpegs, steps


def test_a_long_video_is_there_before_it_is_finished(daemon):
    created = daemon.create(seconds="6", steps=4)
    jpegs, steps = streamed(daemon.events(created["id"], **WHOLE))
    video = daemon.finish(created["id"])
    _, _, data = daemon.get(f"/v1/videos/{created['id']}/content?format=avi")
    assert jpegs == avi_frames(data) and len(jpegs) == video["frames"] == 49
    # Seventeen frames of the first window, after its last step and before the next window's first is done.
    assert steps[:17] == [4] * 17 and steps[17] == 8 and steps == sorted(steps), steps

    # Who comes late gets the same.
    assert streamed(daemon.events(created["id"], **WHOLE))[0] == jpegs


def test_so_is_what_another_video_was_continued_with(daemon):
    source = daemon.finish(daemon.create(steps=2)["id"])
    _, _, data = daemon.get(f"/v1/videos/{source['id']}/content?format=avi")
    before = avi_frames(data)
    for direction in ("forward", "backward"):
        made = daemon.json("POST", "/v1/videos/extensions", {
            "prompt": "a red apple moving right on the grass", "video": {"id": source["id"]}, "seconds": "1",
            "direction": direction, "steps": 2})
        jpegs, _ = streamed(daemon.events(made["id"], **WHOLE))
        made = daemon.finish(made["id"])
        _, _, data = daemon.get(f"/v1/videos/{made['id']}/content?format=avi")
        assert jpegs == avi_frames(data) and len(jpegs) == made["frames"] == 25
        assert (jpegs[:17] if direction == "forward" else jpegs[-17:]) == before
