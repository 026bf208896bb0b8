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
    assert len(said["defined"]) >= 17
    for client in ("sync", "async"):
        assert said[client]["checks"] == said["defined"], client
        # Of 300 at once as many as the queue holds, and each that ended meanwhile makes room.
        assert 16 <= said[client]["accepted"] <= 300, said[client]
    assert max(said[client]["retries"] for client in ("sync", "async")) > 0, said
