"""The official `openai` SDK, sync and async, over its Unix transport: both majors in use."""
import json
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT

CLIENT = pathlib.Path(__file__).with_name("openai_client.py")


def environment(major):
    """A Python with that major of the SDK; made once, kept beside the checkout's other environments."""
    folder = ROOT / f".venv-openai{major}"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"openai>={major},<{major + 1}"], check=True)
        (folder / "ready").touch()
    return python


@pytest.mark.parametrize("major", [2, 3])
def test_the_official_sdk(daemon, major):
    run = subprocess.run([environment(major), CLIENT, daemon.socket], capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr[-3000:]
    said = json.loads(run.stdout)
    assert said["version"].startswith(f"{major}.")

    sync = said["sync"]
    assert sync["status"] == "completed" and sync["models"] == ["nano"]
    assert sync["variations"] == {
        "begun": "completed", "remixed": "completed", "of": sync["id"], "longer": "3.125", "image": "89504e47",
        "stream": ["image_generation.partial_image"] * 2 + ["image_generation.completed"]}
    assert float(sync["seconds"]) == 17 / 8
    assert {"id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "prompt", "size",
            "seconds", "remixed_from_video_id", "error", "seed", "frames_sha256"} <= set(sync["keys"])
    assert bytes.fromhex(sync["pictures"]["video"])[4:8] == b"ftyp"
    for picture in ("thumbnail", "spritesheet"):
        assert sync["pictures"][picture].startswith("ffd8ff")
    assert set(sync["listed"]) == {sync["id"], *sync["others"]}
    assert sync["refused"] == {
        "size": [422, "size", "UnprocessableEntityError"], "prompt": [400, "prompt", "BadRequestError"],
        "model": [422, "model", "UnprocessableEntityError"], "id": [404, "not_found", "NotFoundError"]}

    # Accepted or told to come back: nothing else, and what was accepted is there.
    crowd = said["async"]
    assert len(crowd["accepted"]) + len(crowd["refused"]) == 300
    assert len(set(crowd["accepted"])) == len(crowd["accepted"]) >= 16
    assert all(int(after) > 0 for _, after in crowd["refused"])
    assert set(crowd["accepted"]) <= set(crowd["kept"])
    assert crowd["last"] == "completed"
