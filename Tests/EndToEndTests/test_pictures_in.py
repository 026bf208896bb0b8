"""Videos that begin or end with a picture."""
import base64
import json

from conftest import cli
from pictures import decibels, luma_frames, multipart, png


def ball(x, y):
    """A red disk on green, at 64x64."""
    return (210, 40, 50) if (x - 30) ** 2 + (y - 26) ** 2 < 200 else (70, 120 + y, 80)


BALL = png(64, 64, ball)
LUMA = bytes(round(16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255)
             for y in range(64) for x in range(64) for r, g, b in [ball(x, y)])


def upload(daemon, expect=200, **parts):
    kind, body = multipart(**{"prompt": "a red apple moving right on the grass", "seed": 5, "steps": 6, **parts})
    status, _, data = daemon.request("POST", "/v1/videos", body, {"Content-Type": kind})
    assert status == expect, data
    return json.loads(data)


def frames(daemon, id):
    status, _, data = daemon.get(f"/v1/videos/{id}/content?format=y4m")
    assert status == 200
    return luma_frames(data)[2]


def test_a_video_begins_with_a_picture_however_it_is_sent(daemon):
    assert {"input_reference", "end_reference"} <= set(daemon.json("GET", "/v1/capabilities")["data"][0]["abilities"])
    first = daemon.finish(upload(daemon, input_reference=BALL)["id"])
    assert first["status"] == "completed", first
    url = "data:image/png;base64," + base64.b64encode(BALL).decode()
    second = daemon.finish(daemon.create(seed=5, steps=6, input_reference={"image_url": url})["id"])
    assert first["frames_sha256"] == second["frames_sha256"]
    made = frames(daemon, first["id"])
    plain = frames(daemon, daemon.finish(daemon.create(seed=5, steps=6)["id"])["id"])
    assert decibels(made[0], LUMA) > 24, decibels(made[0], LUMA)
    assert decibels(plain[0], LUMA) < 20
    assert decibels(made[0], made[-1]) < 30, "it moves"


def test_a_video_ends_with_a_picture(daemon):
    both = daemon.finish(upload(daemon, input_reference=BALL, end_reference=BALL)["id"])
    made = frames(daemon, both["id"])
    assert decibels(made[0], LUMA) > 24 and decibels(made[-1], LUMA) > 22, [decibels(f, LUMA) for f in made]


def test_large_pictures_are_brought_to_size(daemon):
    large = png(600, 480, lambda x, y: ball((x - 60) * 64 // 480, y * 64 // 480))
    made = frames(daemon, daemon.finish(upload(daemon, input_reference=large)["id"])["id"])
    assert decibels(made[0], LUMA) > 22


def test_the_size_follows_the_picture(daemon):
    wide, tall = (png(width, height, lambda x, y: ball(x // 5, y // 5)) for width, height in [(300, 200), (200, 280)])
    assert upload(daemon, input_reference=wide)["size"] == "96x64"
    assert upload(daemon, end_reference=tall)["size"] == "64x96"
    assert upload(daemon, input_reference=wide, end_reference=tall)["size"] == "96x64", "the first decides"
    assert upload(daemon, input_reference=wide, size="64x64")["size"] == "64x64"


def test_refusals(daemon):
    header = BALL[:16] + (60_000).to_bytes(4, "big") * 2 + BALL[24:]
    for part, status, code in (
            (b"GIF89a" + bytes(50), 415, "unsupported_media_type"), (b"", 415, "unsupported_media_type"),
            (BALL[:100], 400, "invalid_image"), (header, 400, "invalid_image"),
            (b"\xff\xd8\xff\xe0" + bytes(400), 400, "invalid_image"),
            (png(4097, 1, lambda x, y: (0, 0, 0)), 413, "upload_too_large")):
        answer = upload(daemon, expect=status, input_reference=part)
        assert answer["error"]["code"] == code and answer["error"]["param"] == "input_reference", answer
    kind, body = multipart(prompt="a", input_reference=bytes(9 << 20))
    assert daemon.request("POST", "/v1/videos", body, {"Content-Type": kind})[0] == 413
    assert daemon.json("GET", "/v1/videos")["data"] == []


def test_pictures_survive_kill_9(daemons):
    daemon = daemons().start()
    daemon.create(steps=50)  # so that it waits
    id = upload(daemon, input_reference=BALL, end_reference=BALL)["id"]
    daemon.kill()
    daemon.start()
    killed = daemon.finish(id)
    assert killed["status"] == "completed"
    again = daemon.finish(upload(daemon, input_reference=BALL, end_reference=BALL)["id"])
    assert again["frames_sha256"] == killed["frames_sha256"]
    assert daemon.stop() == 0


def test_the_same_frames_on_every_level(daemons):
    def sha(daemon):
        return daemon.finish(upload(daemon, input_reference=BALL, end_reference=BALL, steps=1, guidance=1,
                                    seconds=1)["id"])["frames_sha256"]
    expected = sha(daemons(threads=1).start())
    for level in ("reference", ""):
        assert sha(daemons(threads=3, env={"FILOSCOPE_KERNELS": level} if level else None).start()) == expected


def test_command_line(daemon, tmp_path):
    picture, output = tmp_path / "ball.png", tmp_path / "ball.y4m"
    picture.write_bytes(BALL)
    made = cli(daemon, "generate", "a red apple bouncing on the grass", "--image", picture, "--end-image", picture,
               "--steps", 4, "-o", output)
    assert made.returncode == 0, made.stderr
    assert decibels(luma_frames(output.read_bytes())[2][0], LUMA) > 24
    missing = cli(daemon, "generate", "a frog", "--image", tmp_path / "none.png")
    assert missing.returncode == 66 and "none.png" in missing.stderr
    text = tmp_path / "text.png"
    text.write_text("no picture")
    refused = cli(daemon, "generate", "a frog", "--image", text)
    assert refused.returncode == 65 and "JPEG or a PNG" in refused.stderr
