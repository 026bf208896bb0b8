"""What a video output node that is wrong does to the daemon: nothing. (One that is right is played by the Swift tests.)"""
import json
import time

import pytest

from conftest import cli


@pytest.mark.parametrize("device, words", [("/nonexistent/video9", "no such device"), ("/dev/null", "/dev/null")])
def test_a_device_that_is_wrong_is_told_and_hurts_nothing(daemons, device, words):
    daemon = daemons(env={"FILOSCOPE_VIDEO_DEVICE": device}).start()
    video = daemon.finish(daemon.create(seed=1)["id"])
    assert video["status"] == "completed"
    facts = daemon.json("GET", "/state")["host"]["video_device"]
    assert facts["path"] == device and facts["open"] is False and facts["sent"] == 0, facts
    assert words in facts["last_error"], facts
    assert daemon.stop() == 0
    # Looked for again with every job, told once.
    assert daemon.log.read_text().count(facts["last_error"]) == 1


@pytest.mark.parametrize("device, words", [("/nonexistent/video9", "no such device"), ("/dev/null", "/dev/null")])
def test_the_command_line_says_what_is_wrong_with_a_device(daemon, device, words):
    video = daemon.finish(daemon.create(seed=1)["id"])
    result = cli(daemon, "watch", video["id"], "--to", device)
    assert result.returncode == 74 and words in result.stderr, result
    assert daemon.json("GET", "/healthz")


def test_without_one_nothing_is_told(daemon):
    assert "video_device" not in daemon.json("GET", "/state")["host"]
