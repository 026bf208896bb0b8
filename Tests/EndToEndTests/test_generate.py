"""From a prompt to previews and files."""
import json
import re
import shutil
import subprocess
import time

import pytest
from conftest import MODELS, UnixHTTP, cli

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffprobe is not installed")


def parts(daemon, id, opened=lambda: None):
    """(headers, jpeg) of each part of a preview stream; `opened` is called when it has begun."""
    connection = UnixHTTP(daemon.socket, 120)
    connection.request("GET", f"/v1/videos/{id}/preview.mjpeg")
    answer = connection.getresponse()
    assert answer.status == 200
    opened()
    boundary = re.search(r"boundary=\"?([^\";]+)", answer.getheader("content-type")).group(1)
    found = []
    while True:
        line = answer.readline().strip().decode()
        if line == f"--{boundary}--":
            break
        if line != f"--{boundary}":
            assert not line, line
            continue
        headers = {}
        while (line := answer.readline().strip().decode()):
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        found.append((headers, answer.read(int(headers["content-length"]))))
    connection.close()
    return found


def test_prompt_to_previews_and_video(daemon):
    created = daemon.create(steps=8)
    assert created["object"] == "video" and created["status"] in ("queued", "in_progress")
    for key in ("id object model status progress created_at completed_at expires_at prompt size seconds "
                "remixed_from_video_id error").split():
        assert key in created
    # From the first event on: where everything is busy, the job may be under way before this connection is.
    seen = list(daemon.events(created["id"], **{"Last-Event-ID": "0"}))
    previews = [data for name, data in seen if name == "video.preview"]
    assert seen[-1][0] == "video.completed"
    assert [p["step"] for p in previews] == list(range(1, 9))
    video = daemon.finish(created["id"])
    assert video["status"] == "completed" and video["progress"] == 100
    assert re.fullmatch("[0-9a-f]{64}", video["frames_sha256"])
    assert float(video["seconds"]) == pytest.approx(video["frames"] / video["fps"], abs=1e-3)


def test_mjpeg_has_a_part_per_step_and_the_first_comes_early(daemons):
    # A stream leaves out what came while its client was busy: with slow steps, a busy machine's client isn't.
    daemon = daemons(env={"FILOSCOPE_KERNELS": "reference"}).start()
    steps = 12
    first = daemon.create(steps=50)  # keeps the queue busy so that the stream is open before the job starts
    created = daemon.create(steps=steps, seed=2)
    stream = parts(daemon, created["id"], lambda: daemon.json("POST", f"/v1/videos/{first['id']}/cancel", b""))
    assert all(jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9" for _, jpeg in stream)
    numbers = [int(headers["x-step"]) for headers, _ in stream]
    assert sorted(set(numbers) & set(range(1, steps + 1))) == list(range(1, steps + 1)), numbers
    times = [float(headers["x-timestamp"]) for headers, _ in stream]
    video = daemon.finish(created["id"])
    step_time = (times[numbers.index(steps)] - times[0]) / (steps - 1)
    total = times[-1] - (times[0] - step_time)
    assert (times[0] - (times[0] - step_time)) <= 0.25 * total, (times, video)


@needs_ffmpeg
@pytest.mark.parametrize("format, codec", [("mp4", "h264"), ("avi", "mjpeg")])
def test_files_are_what_they_say(daemon, tmp_path, format, codec):
    video = daemon.finish(daemon.create(steps=2)["id"])
    status, headers, data = daemon.get(f"/v1/videos/{video['id']}/content?format={format}")
    assert status == 200 and headers["content-type"] == {"mp4": "video/mp4", "avi": "video/x-msvideo"}[format]
    path = tmp_path / f"v.{format}"
    path.write_bytes(data)
    facts = json.loads(subprocess.check_output(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)]))["streams"][0]
    assert facts["codec_name"] == codec
    assert int(facts["nb_read_frames"]) == video["frames"]
    assert f"{facts['width']}x{facts['height']}" == video["size"]
    assert facts["r_frame_rate"] == f"{video['fps']}/1"


def test_pictures(daemon):
    video = daemon.finish(daemon.create(steps=2)["id"])
    for variant in ("thumbnail", "spritesheet"):
        status, headers, data = daemon.get(f"/v1/videos/{video['id']}/content?variant={variant}")
        assert status == 200 and headers["content-type"] == "image/jpeg" and data[:2] == b"\xff\xd8"
    status, headers, data = daemon.get(f"/v1/videos/{video['id']}/preview.jpg")
    assert status == 200 and data[:2] == b"\xff\xd8"


def test_cancel_takes_effect_within_a_quarter_of_a_second(daemon):
    created = daemon.create(steps=50)
    while daemon.json("GET", f"/v1/videos/{created['id']}")["progress"] < 2:
        time.sleep(0.01)
    started = time.monotonic()
    daemon.json("POST", f"/v1/videos/{created['id']}/cancel", b"")
    video = daemon.finish(created["id"])
    assert time.monotonic() - started < 0.25
    assert video["status"] == "failed" and video["error"]["code"] == "cancelled"


def test_queue_positions_list_and_delete(daemon):
    ids = [daemon.create(steps=12, seed=n)["id"] for n in range(4)]
    listed = daemon.json("GET", "/v1/videos?limit=10&order=asc")
    assert [v["id"] for v in listed["data"]] == ids and listed["has_more"] is False
    waiting = [v["queue_position"] for v in listed["data"] if v["status"] == "queued"]
    assert waiting == sorted(waiting) and waiting
    assert daemon.json("DELETE", f"/v1/videos/{ids[-1]}") == {
        "id": ids[-1], "object": "video.deleted", "deleted": True}
    daemon.json("GET", f"/v1/videos/{ids[-1]}", expect=404)
    assert [daemon.finish(id)["status"] for id in ids[:-1]] == ["completed"] * 3


def test_command_line(daemon, tmp_path):
    previews = tmp_path / "previews"
    output = tmp_path / "clip.mp4"
    made = cli(daemon, "generate", "a frog spinning at sunset", "-o", output, "--seed", 3, "--steps", 4,
               "--preview-dir", previews)
    assert made.returncode == 0, made.stderr
    assert output.read_bytes()[4:8] == b"ftyp" and made.stdout.strip() == str(output)
    assert len(list(previews.glob("*.jpg"))) == 4
    listed = json.loads(cli(daemon, "list", "--json").stdout)
    id = listed["data"][0]["id"]
    assert json.loads(cli(daemon, "show", id, "--json").stdout)["frames_sha256"]
    assert cli(daemon, "save", id, "-o", tmp_path / "sheet.jpg").returncode == 0
    assert cli(daemon, "models").returncode == 0 and cli(daemon, "status").returncode == 0
    refused = cli(daemon, "generate", "x", "--size", "6400x6400")
    assert refused.returncode == 65 and "size" in refused.stderr
    assert cli(daemon, "delete", id).returncode == 0
    assert cli(daemon, "show", id).returncode == 65
    assert cli(daemon, "generate").returncode == 64
    assert cli(daemon, "list", "--socket", "/nonexistent.sock").returncode == 69
    assert cli(daemon, "generate", "a frog", "--steps", 2, "-o", "/nonexistent/x.mp4").returncode == 74


def test_the_words_of_a_model_are_told(daemon):
    model = daemon.json("GET", "/v1/capabilities")["data"][0]
    card = json.loads((MODELS / "nano" / "model.json").read_text())["words"]
    for kind in ("subjects", "motions", "places"):
        known = card[kind].values() if isinstance(card[kind], dict) else [[word] for word in card[kind]]
        assert sorted(model["words"][kind]) == sorted(known)
    told = cli(daemon, "models", "--words").stdout
    for phrases in model["words"]["motions"]:
        assert ", ".join(phrases) in told
