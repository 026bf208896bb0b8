"""Loops, storyboards, videos that are changed, and what leads from one to another."""
import base64
import json

import pytest
from conftest import cli
from pictures import decibels, luma_frames, multipart, png
from test_variations import change, frames, jpegs, made


@pytest.mark.parametrize("seconds,count", [("1", 9), ("2", 17), ("2.2", 25), ("4", 33)])
def test_a_loop_ends_where_it_begins(daemon, seconds, count):
    wanted = {"prompt": "a red apple moving right at night", "seed": 6, "loop": True, "seconds": seconds}
    video = made(daemon, "/v1/videos", **wanted)
    assert video["status"] == "completed" and video["loop"] is True and video["frames"] == count, video
    shown = frames(daemon, video["id"])
    changes = [change(a, b) for a, b in zip(shown, shown[1:])]
    mean = sum(changes) / len(changes)
    assert change(shown[-1], shown[0]) <= 1.5 * mean
    assert max(changes) <= 3 * mean
    assert change(shown[0], shown[count // 2]) > mean, "it went somewhere"
    assert made(daemon, "/v1/videos", **wanted)["frames_sha256"] == video["frames_sha256"]
    plain = made(daemon, "/v1/videos", **{**wanted, "loop": False})
    assert plain["loop"] is False and plain["frames_sha256"] != video["frames_sha256"]
    plain = frames(daemon, plain["id"])
    assert change(plain[-1], plain[0]) > 1.5 * mean, "by itself it does not"


def test_what_becomes_of_loops(daemon):
    assert "loop" in daemon.json("GET", "/v1/capabilities")["data"][0]["abilities"]
    loop = made(daemon, "/v1/videos", prompt="a frog bouncing on the grass", seed=1, loop=True, seconds=1)
    again = made(daemon, f"/v1/videos/{loop['id']}/remix", prompt=loop["prompt"])
    assert again["loop"] is True and again["frames_sha256"] == loop["frames_sha256"]
    straight = made(daemon, f"/v1/videos/{loop['id']}/remix", prompt=loop["prompt"], loop=False)
    assert straight["loop"] is False and straight["frames_sha256"] != loop["frames_sha256"]
    longer = made(daemon, "/v1/videos/extensions", prompt=loop["prompt"], video=loop["id"], seconds=1)
    assert longer["loop"] is False and jpegs(daemon, longer["id"])[:9] == jpegs(daemon, loop["id"])
    for fields, status, param in (({"loop": "perhaps"}, 400, "loop"), ({"loop": "true"}, 400, "loop"),
                                  ({"loop": True, "seconds": 61}, 422, "seconds"),
                                  ({"loop": True, "end_reference": "data:image/png;base64,AAAA"}, 422, "loop")):
        error = made(daemon, "/v1/videos", status, prompt="a frog", **fields)
        assert error["param"] == param, error


def test_command_line(daemon, tmp_path):
    output = tmp_path / "loop.y4m"
    made_ = cli(daemon, "generate", "a frog spinning at night", "--loop", "--seconds", 1, "-o", output)
    assert made_.returncode == 0, made_.stderr
    assert len(luma_frames(output.read_bytes())[2]) == 9


def upload(daemon, expect=200, **parts):
    kind, body = multipart(**{"prompt": "a frog moving right on the grass", "seed": 5, **parts})
    status, _, data = daemon.request("POST", "/v1/videos/edits", body, {"Content-Type": kind})
    assert status == expect, data
    return json.loads(data)


def y4m(width, height, count, rate="8:1", shade=90):
    """Grey frames."""
    head = f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420jpeg\n".encode()
    chroma = 2 * ((width + 1) // 2) * ((height + 1) // 2)
    return head + (b"FRAME\n" + bytes([shade]) * (width * height) + bytes([128]) * chroma) * count if count else head


def test_edits_change_as_much_as_they_are_told(daemon):
    assert "edits" in daemon.json("GET", "/v1/capabilities")["data"][0]["abilities"]
    source = made(daemon, "/v1/videos", prompt="a red apple moving right on the grass", seed=1, seconds=4)
    before = frames(daemon, source["id"])
    wanted = {"video": {"id": source["id"]}, "prompt": "a soccer ball moving right on the grass", "seed": 2}
    nearness = []
    for strength in (0.1, 0.5, 1):
        edited = made(daemon, "/v1/videos/edits", **wanted, strength=strength)
        assert edited["status"] == "completed" and edited["frames"] == 33, edited
        nearness.append(decibels(b"".join(frames(daemon, edited["id"])), b"".join(before)))
        assert list(daemon.events(edited["id"]))[-1][1]["video"]["progress"] == 100
        assert edited["frames_sha256"] == made(daemon, "/v1/videos/edits", **wanted, strength=strength)["frames_sha256"]
    assert nearness[0] > nearness[1] + 2 > nearness[2] + 4, nearness
    again = made(daemon, f"/v1/videos/{edited['id']}/remix", prompt=wanted["prompt"])
    assert again["frames_sha256"] == edited["frames_sha256"]


def test_an_edit_stays_inside_of_its_mask(daemon):
    source = made(daemon, "/v1/videos", prompt="a red apple bouncing on the grass", seed=1)
    right = png(64, 64, lambda x, y: (255,) * 3 if x >= 32 else (0, 0, 0))
    edited = daemon.finish(upload(daemon, **{"video[id]": source["id"]}, prompt="a whale at night", strength=1,
                                  mask=right)["id"])
    assert edited["status"] == "completed", edited
    before, after = frames(daemon, source["id"]), frames(daemon, edited["id"])

    def part(all, columns):
        return bytes(frame[y * 64 + x] for frame in all for y in range(64) for x in columns)
    assert decibels(part(after, range(20)), part(before, range(20))) > 35
    assert decibels(part(after, range(44, 64)), part(before, range(44, 64))) < 20


def test_edits_of_videos_that_are_sent(daemon):
    source = made(daemon, "/v1/videos", prompt="a frog moving right on the grass", seed=1, seconds=1)
    shas = set()
    for format in ("avi", "y4m", "mp4"):
        data = daemon.get(f"/v1/videos/{source['id']}/content?format={format}")[2]
        edited = daemon.finish(upload(daemon, video=data, strength=0.1)["id"])
        assert edited["status"] == "completed" and edited["frames"] == 9, edited
        assert decibels(frames(daemon, edited["id"])[4], frames(daemon, source["id"])[4]) > 20
        shas.add(edited["frames_sha256"])
        url = "data:video/x-any;base64," + base64.b64encode(data).decode()
        same = made(daemon, "/v1/videos/edits", prompt="a frog moving right on the grass", seed=5, strength=0.1, video=url)
        assert same["frames_sha256"] == edited["frames_sha256"]
    assert len(shas) == 3
    # 24 frames a second, and larger: every third is taken, the last held until a latent is full.
    large = daemon.finish(upload(daemon, video=y4m(322, 240, 30, "24:1"), strength=0.05)["id"])
    assert large["frames"] == 13 and large["size"] == "96x64", "the size whose shape is nearest"


def test_edits_are_refused_by_name(daemon):
    id = made(daemon, "/v1/videos", prompt="a frog", seed=1, seconds=1)["id"]
    still = daemon.json("POST", "/v1/images/generations", {"prompt": "a frog", "steps": 1})["data"][0]["id"]
    for fields, status, param in (
            ({"video": id, "strength": 0}, 400, "strength"), ({"video": id, "strength": 1.01}, 400, "strength"),
            ({"video": id, "strength": "much"}, 400, "strength"), ({}, 400, "video"), ({"video": 7}, 400, "video"),
            ({"video": "video_0"}, 404, None), ({"video": id, "size": "32x32"}, 400, "size"),
            ({"video": id, "seconds": 2}, 400, "seconds"), ({"video": id, "loop": True}, 400, "loop"),
            ({"video": id, "mask": "data:image/gif;base64,AAAA"}, 415, "mask"), ({"video": still}, 422, "video"),
            ({"video": id, "steps": 99}, 422, "steps"), ({"video": "data:video/mp4;base64,AAAA"}, 415, "video")):
        error = made(daemon, "/v1/videos/edits", status, **{"prompt": "a frog", **fields})
        assert error["param"] == param, error
    avi = daemon.get(f"/v1/videos/{id}/content?format=avi")[2]
    mp4 = daemon.get(f"/v1/videos/{id}/content?format=mp4")[2]
    for video, status, words in (
            (mp4.replace(b"avc1\0", b"hvc1\0"), 415, "HEVC"), (b"", 415, "Y4M"), (avi[:3000], 400, "AVI"),
            (mp4[:-9], 400, "mdat"), (mp4[:200], 400, "moov"), (mp4.replace(b"vide", b"text"), 400, "no video track"),
            (mp4.replace(b"stco", b"free"), 400, "no stco"), (mp4[:-400] + bytes(400), 400, "libopenh264"),
            (y4m(64, 64, 0), 400, "no frames"), (y4m(64, 64, 3)[:-9], 400, "cut short"),
            (y4m(16, 16, 10_000), 413, "10000 frames"), (y4m(60000, 60000, 0), 413, "60000x60000"),
            (y4m(4096, 1, 1), 200, ""), (y4m(64, 64, 3, "0:0"), 400, "frames a second"),
            (b"YUV4MPEG2 W64 H64 C422\nFRAME\n" + bytes(8192), 415, "C422")):
        answer = upload(daemon, expect=status, video=video)
        assert status == 200 or words in answer["error"]["message"] and answer["error"]["param"] == "video", answer


def test_edits_survive_kill_9(daemons):
    daemon = daemons().start()
    source = made(daemon, "/v1/videos", prompt="a frog", seed=1, seconds=1)
    mask = png(64, 64, lambda x, y: (255,) * 3 if y >= 32 else (0, 0, 0))
    wanted = {"mask": mask, "strength": 0.6, "prompt": "a whale at sea"}
    data = daemon.get(f"/v1/videos/{source['id']}/content?format=avi")[2]
    expected = [daemon.finish(upload(daemon, **wanted, **video)["id"])["frames_sha256"]
                for video in ({"video[id]": source["id"]}, {"video": data})]
    daemon.create(steps=50, seconds=60)  # so that they wait
    ids = [upload(daemon, **wanted, **video)["id"] for video in ({"video[id]": source["id"]}, {"video": data})]
    daemon.json("DELETE", f"/v1/videos/{source['id']}")
    daemon.kill()
    daemon.start()
    for video in daemon.json("GET", "/v1/videos")["data"]:
        if video["status"] == "in_progress":
            daemon.json("POST", f"/v1/videos/{video['id']}/cancel")
    assert [daemon.finish(id)["frames_sha256"] for id in ids] == expected
    assert daemon.stop() == 0


def test_command_line_edits(daemon, tmp_path):
    source, output, mask = tmp_path / "frog.avi", tmp_path / "whale.y4m", tmp_path / "mask.png"
    film = tmp_path / "frog.mp4"
    mask.write_bytes(png(8, 8, lambda x, y: (255,) * 3))
    for path in (source, film):
        assert cli(daemon, "generate", "a frog", "--seconds", 1, "-o", path).returncode == 0
    id = daemon.json("GET", "/v1/videos")["data"][0]["id"]
    for video in (source, film, id):
        edited = cli(daemon, "edit", video, "a whale", "--strength", 0.7, "--mask", mask, "-o", output)
        assert edited.returncode == 0, edited.stderr
        assert len(luma_frames(output.read_bytes())[2]) == 9
    refused = cli(daemon, "edit", mask, "a whale")
    assert refused.returncode == 65 and "Y4M" in refused.stderr


def test_a_storyboard_goes_by_its_scenes(daemon):
    assert "storyboard" in daemon.json("GET", "/v1/capabilities")["data"][0]["abilities"]
    scenes = [{"prompt": "a dog spinning in the sky", "at": 0}, {"prompt": "a cat spinning in the sky", "at": 3}]
    video = made(daemon, "/v1/videos", storyboard=scenes, seed=1, seconds=5)
    assert video["status"] == "completed" and video["prompt"] == scenes[0]["prompt"] and video["frames"] == 41, video
    assert video["storyboard"] == scenes
    shas = {video["frames_sha256"]}
    brackets = "".join(f'--frontier\r\nContent-Disposition: form-data; name="storyboard[][{key}]"\r\n\r\n{scene[key]}\r\n'
                       for scene in scenes for key in ("prompt", "at"))
    for sent, before in (({"storyboard": json.dumps(scenes)}, b""), ({}, brackets.encode())):
        kind, body = multipart(seed=1, seconds=5, **sent)
        body = before + body
        status, _, data = daemon.request("POST", "/v1/videos", body, {"Content-Type": kind})
        assert status == 200, data
        shas.add(daemon.finish(json.loads(data)["id"])["frames_sha256"])
    assert len(shas) == 1
    told, dog = frames(daemon, video["id"]), frames(
        daemon, made(daemon, "/v1/videos", prompt=scenes[0]["prompt"], seed=1, seconds=5)["id"])
    assert told[:17] == dog[:17] and change(told[-1], dog[-1]) > 1
    # Not said how long: the last scene gets a window's time.
    assert made(daemon, "/v1/videos", storyboard=scenes, steps=1)["frames"] == 37


def test_storyboards_are_refused_by_name(daemon):
    one, two = {"prompt": "a frog", "at": 0}, {"prompt": "a dog", "at": 3}
    for fields, status in (
            ({"storyboard": []}, 400), ({"storyboard": "x"}, 400), ({"storyboard": 7}, 400), ({"storyboard": [1]}, 400),
            ({"storyboard": [two]}, 400), ({"storyboard": [one, one]}, 400), ({"storyboard": [one, {"prompt": "a"}]}, 400),
            ({"storyboard": [one, {"prompt": " ", "at": 1}]}, 400), ({"storyboard": [one, {**two, "prompt": "a" * 2001}]}, 400),
            ({"storyboard": [{**one, "at": i} for i in range(33)]}, 400), ({"storyboard": [one, two], "seconds": 3}, 422),
            ({"storyboard": [one, {**two, "at": 1}], "seconds": 2}, 422), ({"storyboard": [one, two], "loop": True}, 422)):
        error = made(daemon, "/v1/videos", status, **fields)
        assert error["param"] == "storyboard", (fields, error)
    assert made(daemon, "/v1/videos", 422, storyboard=[one, {**two, "at": 70}])["param"] == "seconds"
    assert made(daemon, "/v1/videos", 400, seed=1)["param"] == "prompt"
    assert daemon.json("GET", "/v1/videos")["data"] == []


def test_a_blend_holds_both_and_leads_over(daemon):
    assert "blends" in daemon.json("GET", "/v1/capabilities")["data"][0]["abilities"]
    first = made(daemon, "/v1/videos", prompt="a red apple moving right on the grass", seed=1, seconds=1)
    second = made(daemon, "/v1/videos", prompt="a frog bouncing at night", seed=2)
    wanted = {"from": first["id"], "to": {"id": second["id"]}, "seconds": 2, "seed": 3}
    blend = made(daemon, "/v1/videos/blends", **wanted)
    assert blend["status"] == "completed" and blend["frames"] == 9 + 15 + 17, blend
    stored = jpegs(daemon, blend["id"])
    assert stored[:9] == jpegs(daemon, first["id"]) and stored[-17:] == jpegs(daemon, second["id"])
    shown = frames(daemon, blend["id"])
    changes = [change(a, b) for a, b in zip(shown, shown[1:])]
    mean = sum(changes) / len(changes)
    assert max(changes[8], changes[23]) <= 2 * mean, (changes[8], changes[23], mean)
    assert blend["frames_sha256"] == made(daemon, "/v1/videos/blends", **wanted)["frames_sha256"]
    other = made(daemon, "/v1/videos/blends", **wanted, prompt="a whale at sea")
    assert other["prompt"] == "a whale at sea" and other["frames_sha256"] != blend["frames_sha256"]
    # The parts are not needed any more, and what was made goes on.
    daemon.json("DELETE", f"/v1/videos/{first['id']}")
    longer = made(daemon, "/v1/videos/extensions", prompt="a frog", video=blend["id"], seconds=1, direction="backward")
    assert jpegs(daemon, longer["id"])[-41:] == stored
    again = made(daemon, f"/v1/videos/{other['id']}/remix", prompt="a whale at sea")
    assert again["frames_sha256"] == other["frames_sha256"]
    both = made(daemon, "/v1/videos/blends", **{"from": longer["id"], "to": blend["id"]})
    assert jpegs(daemon, both["id"])[-41:] == stored and both["frames"] == longer["frames"] + 7 + 41
    edited = made(daemon, "/v1/videos/edits", video=blend["id"], prompt="a dog", strength=0.2)
    assert edited["status"] == "completed" and edited["frames"] == 41, edited


def test_blends_are_refused_by_name(daemon):
    id = made(daemon, "/v1/videos", prompt="a frog", seed=1)["id"]
    still = daemon.json("POST", "/v1/images/generations", {"prompt": "a frog", "steps": 1})["data"][0]["id"]
    waits = daemon.create(steps=50, seconds=60)["id"]
    for fields, status, param in (
            ({"to": id}, 400, "from"), ({"from": id}, 400, "to"), ({"from": id, "to": "video_0"}, 404, None),
            ({"from": id, "to": still}, 422, "to"), ({"from": id, "to": id, "seconds": 60}, 422, "seconds"),
            ({"from": id, "to": id, "loop": True}, 400, "loop"), ({"from": id, "to": waits}, 409, None),
            ({"from": id, "to": id, "prompt": " "}, 400, "prompt"), ({"from": id, "to": 7}, 400, "to")):
        error = made(daemon, "/v1/videos/blends", status, **fields)
        assert error["param"] == param, (fields, error)


def test_blends_and_storyboards_survive_kill_9(daemons):
    daemon = daemons().start()
    a, b = (made(daemon, "/v1/videos", prompt=p, seed=1, seconds=1)["id"] for p in ("a frog", "a whale at sea"))
    asked = (("/v1/videos/blends", {"from": a, "to": b, "seed": 3}), ("/v1/videos", {"seed": 3, "seconds": 3, "storyboard": [
        {"prompt": "a frog", "at": 0}, {"prompt": "a dog", "at": 2}]}))
    expected = [made(daemon, path, **fields)["frames_sha256"] for path, fields in asked]
    waits = daemon.create(steps=50, seconds=60)["id"]
    ids = [daemon.json("POST", path, fields)["id"] for path, fields in asked]
    for id in (a, b):
        daemon.json("DELETE", f"/v1/videos/{id}")
    daemon.kill()
    daemon.start()
    daemon.json("POST", f"/v1/videos/{waits}/cancel")
    assert [daemon.finish(id)["frames_sha256"] for id in ids] == expected
    assert daemon.stop() == 0


def test_command_line_compositions(daemon, tmp_path):
    output = tmp_path / "told.y4m"
    told = cli(daemon, "storyboard", "0:a frog", "3:a dog", "--seconds", 4, "--steps", 1, "-o", output)
    assert told.returncode == 0, told.stderr
    assert len(luma_frames(output.read_bytes())[2]) == 33
    assert cli(daemon, "storyboard", "a frog").returncode == 64
    id = daemon.json("GET", "/v1/videos")["data"][0]["id"]
    blended = cli(daemon, "blend", id, id, "--seconds", 1, "-o", output)
    assert blended.returncode == 0, blended.stderr
    assert len(luma_frames(output.read_bytes())[2]) == 73
