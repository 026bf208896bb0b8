"""Stills, remixes, extensions in both directions, and videos longer than a window of the model."""
import base64
import json

import pytest
from conftest import UnixHTTP, cli
from pictures import luma_frames, multipart


def made(daemon, path, expect=200, **fields):
    answer = daemon.json("POST", path, fields, expect=expect)
    return daemon.finish(answer["id"]) if expect == 200 else answer["error"]


def frames(daemon, id):
    status, _, data = daemon.get(f"/v1/videos/{id}/content?format=y4m")
    assert status == 200
    return luma_frames(data)[2]


def jpegs(daemon, id):
    """The stored frames themselves: an AVI holds them as they are."""
    data = daemon.get(f"/v1/videos/{id}/content?format=avi")[2]
    found, place = [], data.index(b"movi") + 4
    while data[place:place + 4] == b"00dc":
        length = int.from_bytes(data[place + 4:place + 8], "little")
        found.append(data[place + 8:place + 8 + length])
        place += 8 + length + length % 2
    return found


def change(a, b):
    return sum(abs(x - y) for x, y in zip(a, b)) / len(a)


def test_images(daemon):
    wanted = {"prompt": "a red apple growing on the grass", "seed": 3, "steps": 4}
    answer = daemon.json("POST", "/v1/images/generations", {**wanted, "n": 2})
    first, second = (base64.b64decode(image["b64_json"]) for image in answer["data"])
    assert first[:8] == second[:8] == b"\x89PNG\r\n\x1a\n" and first != second
    assert answer["data"][1]["seed"] == 4
    again = daemon.json("POST", "/v1/images/generations", {**wanted, "output_format": "jpeg"})
    assert base64.b64decode(again["data"][0]["b64_json"])[:2] == b"\xff\xd8"
    video = daemon.json("GET", f"/v1/videos/{again['data'][0]['id']}")
    assert video["frames"] == 1 and video["frames_sha256"] == daemon.json(
        "GET", f"/v1/videos/{answer['data'][0]['id']}")["frames_sha256"]
    for field, value in (("n", 5), ("response_format", "url"), ("output_format", "gif"), ("partial_images", 2),
                         ("input_reference", "data:"), ("prompt", " ")):
        error = daemon.json("POST", "/v1/images/generations", {**wanted, field: value}, expect=400)["error"]
        assert error["param"] == field, error


def test_an_image_streams_what_it_will_be(daemon):
    connection = UnixHTTP(daemon.socket, 60)
    body = {"prompt": "a frog at night", "steps": 6, "stream": True, "partial_images": 2, "output_format": "jpeg"}
    connection.request("POST", "/v1/images/generations", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.getheader("content-type") == "text/event-stream"
    events = [json.loads(line[5:]) for line in answer.read().splitlines() if line.startswith(b"data:")]
    connection.close()
    assert [e["type"] for e in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [e.get("partial_image_index") for e in events] == [0, 1, None]
    assert all(base64.b64decode(e["b64_json"])[:2] == b"\xff\xd8" for e in events)


def test_remix(daemon):
    source = daemon.finish(daemon.create(steps=4, seed=9, seconds="1")["id"])
    same = made(daemon, f"/v1/videos/{source['id']}/remix", prompt=source["prompt"])
    assert same["frames_sha256"] == source["frames_sha256"] and same["remixed_from_video_id"] == source["id"]
    other = made(daemon, f"/v1/videos/{source['id']}/remix", prompt="a frog moving right on the grass")
    assert other["frames_sha256"] != source["frames_sha256"]
    assert (other["seed"], other["frames"], other["steps"]) == (9, source["frames"], 4)
    assert made(daemon, f"/v1/videos/{source['id']}/remix", 400)["param"] == "prompt"
    assert made(daemon, "/v1/videos/video_0/remix", 404, prompt="a")["code"] == "not_found"


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_extensions_hold_their_source_to_the_bit(daemon, direction):
    source = daemon.finish(daemon.create(steps=4, seed=2)["id"])
    wanted = {"prompt": source["prompt"], "direction": direction, "seed": 5, "steps": 4, "video": {"id": source["id"]}}
    longer = made(daemon, "/v1/videos/extensions", **wanted, seconds=2)
    assert longer["status"] == "completed", longer
    added = longer["frames"] - source["frames"]
    assert 16 <= added <= 20
    before, after = jpegs(daemon, source["id"]), jpegs(daemon, longer["id"])
    assert len(after) == longer["frames"]
    assert (after[:17] if direction == "forward" else after[-17:]) == before
    assert made(daemon, "/v1/videos/extensions", **wanted, seconds=2)["frames_sha256"] == longer["frames_sha256"]
    # Again, the other way: all of it stays.
    other = {"forward": "backward", "backward": "forward"}[direction]
    daemon.json("DELETE", f"/v1/videos/{source['id']}")
    both = made(daemon, "/v1/videos/extensions", prompt="a frog", video=longer["id"], direction=other, steps=2)
    both_frames = jpegs(daemon, both["id"])
    assert (both_frames[:len(after)] if other == "forward" else both_frames[-len(after):]) == after
    assert both["frames_sha256"] == made(
        daemon, f"/v1/videos/{both['id']}/remix", prompt="a frog")["frames_sha256"]


def test_extensions_are_refused_by_name(daemon):
    still = daemon.json("POST", "/v1/images/generations", {"prompt": "a frog", "steps": 1})["data"][0]["id"]
    waits = daemon.create(steps=50)["id"]
    for fields, status, param in (
            ({"video": "video_0", "prompt": "a"}, 404, None), ({"prompt": "a"}, 400, "video"),
            ({"video": still}, 400, "prompt"), ({"video": 7, "prompt": "a"}, 400, "video"),
            ({"video": {"url": "x"}, "prompt": "a"}, 400, "video"),
            ({"video": still, "prompt": "a", "direction": "up"}, 400, "direction"),
            ({"video": still, "prompt": "a", "direction": "backward"}, 422, "direction"),
            ({"video": still, "prompt": "a", "seconds": 61}, 422, "seconds"),
            ({"video": still, "prompt": "a", "size": "64x64"}, 400, "size"),
            ({"video": waits, "prompt": "a"}, 409, None)):
        error = made(daemon, "/v1/videos/extensions", status, **fields)
        assert error["param"] == param, error
    # A form says it in brackets, as the SDK does.
    kind, body = multipart(**{"video[id]": still, "prompt": "a frog", "steps": 2, "seconds": 1})
    status, _, data = daemon.request("POST", "/v1/videos/extensions", body, {"Content-Type": kind})
    assert status == 200, data
    assert daemon.finish(json.loads(data)["id"])["frames"] == 9


def test_a_video_longer_than_a_window(daemon):
    video = daemon.finish(daemon.create(steps=2, guidance=1, seconds=8, seed=4)["id"])
    assert video["status"] == "completed" and video["frames"] == 65
    seen = list(daemon.events(video["id"]))
    assert seen[-1][0] == "video.completed"
    shown = frames(daemon, video["id"])
    assert len(shown) == 65
    changes = [change(a, b) for a, b in zip(shown, shown[1:])]
    seams = [changes[16 + 12 * k] for k in range(4)]
    mean = sum(changes) / len(changes)
    assert max(seams) <= 3 * mean, (seams, mean)
    error = daemon.json("POST", "/v1/videos", {"prompt": "a frog", "seconds": 61}, expect=422)["error"]
    assert error["param"] == "seconds" and "60.1" in error["message"], error


def test_command_line(daemon, tmp_path):
    picture, longer, again = tmp_path / "a.png", tmp_path / "longer.y4m", tmp_path / "again.avi"
    made_ = cli(daemon, "image", "a frog in the snow", "-o", picture, "--steps", 2)
    assert made_.returncode == 0 and picture.read_bytes()[:4] == b"\x89PNG", made_.stderr
    id = daemon.finish(daemon.create(steps=2)["id"])["id"]
    made_ = cli(daemon, "extend", id, "a red apple on the grass", "--backward", "--seconds", 1, "--steps", 2,
                "-o", longer)
    assert made_.returncode == 0, made_.stderr
    assert len(luma_frames(longer.read_bytes())[2]) == 25
    made_ = cli(daemon, "remix", id, "a frog on the grass", "-o", again)
    assert made_.returncode == 0 and again.read_bytes()[:4] == b"RIFF", made_.stderr
    refused = cli(daemon, "extend", "video_0", "a frog")
    assert refused.returncode == 65 and "no such video" in refused.stderr
