"""The camera where there is none, or none that may be used. (Real ones are the kernel's, in `make test-camera`.)"""
import json

import pytest

from conftest import UnixHTTP, cli

ASKED = {"prompt": "a red apple bouncing on the grass", "input_reference": "camera", "consent": True}


def test_it_is_off_by_default(daemon):
    assert daemon.json("GET", "/v1/capabilities")["camera"] is False
    error = daemon.json("POST", "/v1/videos", ASKED, expect=403)["error"]
    assert (error["code"], error["param"]) == ("camera_not_allowed", "input_reference"), error
    clip = {"prompt": "a frog", "video": "camera", "consent": True}
    error = daemon.json("POST", "/v1/videos/edits", clip, expect=403)["error"]
    assert (error["code"], error["param"]) == ("camera_not_allowed", "video"), error
    refused = cli(daemon, "generate", "a frog", "--image", "camera", "--consent")
    assert refused.returncode == 65 and "camera_device" in refused.stderr, refused
    assert daemon.json("GET", "/v1/videos")["data"] == []


@pytest.mark.parametrize("device, words", [("/nonexistent/video0", "no such device"), ("/dev/null", "/dev/null")])
def test_one_that_is_wrong_is_told_and_hurts_nothing(daemons, device, words):
    daemon = daemons(env={"FILOSCOPE_CAMERA_DEVICE": device}).start()
    assert daemon.json("GET", "/v1/capabilities")["camera"] is True
    for consent in ({}, {"consent": False}):
        error = daemon.json("POST", "/v1/videos", {**ASKED, "consent": None, **consent}, expect=400)["error"]
        assert (error["code"], error["param"]) == ("consent_required", "consent"), error
    status, headers, data = daemon.request("POST", "/v1/videos", ASKED)
    assert status == 503 and int(headers["retry-after"]) > 0, data
    error = json.loads(data)["error"]
    assert error["code"] == "camera_unavailable" and words in error["message"], error
    later = cli(daemon, "generate", "a frog", "--image", "camera", "--consent")
    assert later.returncode == 75 and words in later.stderr, later
    later = cli(daemon, "edit", "camera", "a frog", "--consent", "--seconds", "1")
    assert later.returncode == 75 and words in later.stderr and "[video]" in later.stderr, later
    unasked = cli(daemon, "generate", "a frog", "--image", "camera")
    assert unasked.returncode == 65 and "consent" in unasked.stderr, unasked
    assert daemon.json("GET", "/v1/videos")["data"] == []
    assert daemon.finish(daemon.create()["id"])["status"] == "completed"
    assert daemon.stop() == 0


def test_the_kiosk_is_offered_none(daemons, tmp_path):
    kiosk = tmp_path / "k"
    daemon = daemons(env={"FILOSCOPE_CAMERA_DEVICE": "/dev/null", "FILOSCOPE_KIOSK": str(kiosk)}).start()

    def ask(method, path, body=None):
        connection = UnixHTTP(kiosk)
        connection.request(method, path, json.dumps(body) if body else None,
                           {"Host": "localhost", "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    assert ask("GET", "/v1/capabilities")[1]["camera"] is False
    for body in (ASKED, {"prompt": "a frog", "input_reference": "camera"}, {"prompt": "a frog", "consent": True}):
        status, answer = ask("POST", "/v1/videos", body)
        assert status == 403 and answer["error"]["code"] == "forbidden", answer
    assert ask("GET", "/v1/videos")[1]["data"] == []


def test_the_mark_stays_and_goes_over_to_what_is_made_from_it(daemons):
    daemon = daemons().start()
    plain, marked = (daemon.finish(daemon.create(seed=seed, steps=1)["id"])["id"] for seed in (1, 2))
    assert daemon.stop() == 0
    # As a job that a camera had a part in is kept.
    record = daemon.state / "jobs" / marked / "job.json"
    kept = json.loads(record.read_text())
    kept["job"]["request"]["camera"] = True
    record.write_text(json.dumps(kept))
    daemon.start()
    assert daemon.json("GET", f"/v1/videos/{marked}")["camera"] is True
    assert "camera" not in daemon.json("GET", f"/v1/videos/{plain}")

    def make(path, **fields):
        return daemon.json("POST", f"/v1/videos/{path}", {"prompt": "a frog", "steps": 1, **fields})

    children = [make(f"{marked}/remix"), make("extensions", video=marked), make("edits", video={"id": marked}),
                make("blends", **{"from": plain, "to": marked}), make("blends", **{"from": marked, "to": plain})]
    children.append(make(f"{daemon.finish(children[1]['id'])['id']}/remix"))
    assert [child.get("camera") for child in children] == [True] * 6
    for child in (make(f"{plain}/remix"), make("extensions", video=plain), make("edits", video={"id": plain}),
                  make("blends", **{"from": plain, "to": plain})):
        assert "camera" not in child
    assert cli(daemon, "show", marked, "--json").stdout.count('"camera":true') == 1
    daemon.kill()
    daemon.start()
    assert [daemon.json("GET", f"/v1/videos/{child['id']}").get("camera") for child in children] == [True] * 6
    assert daemon.stop() == 0
