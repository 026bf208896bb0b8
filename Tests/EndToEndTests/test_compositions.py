"""Loops."""
import pytest
from conftest import cli
from pictures import luma_frames
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
