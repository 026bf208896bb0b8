"""The real daemon, the real model, clients that share no code with either (Python's standard library)."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("FILOSCOPE_BIN", ROOT / ".build/release"))
MODELS = ROOT / "Models"


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("filoscope", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """filoscoped on a private socket and state folder."""

    def __init__(self, folder, models=MODELS, threads=2, env=None):
        self.folder, self.models, self.threads = pathlib.Path(folder), models, threads
        self.socket = self.folder / "filoscope.sock"
        self.state = self.folder / "state"
        self.log = self.folder / "log"
        self.env = {**os.environ, **(env or {})}
        self.process = None
        self.ready_after = None

    def start(self, wait=True):
        started = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / "filoscoped"), "--listen", str(self.socket), "--state", str(self.state),
                 "--models", str(self.models), "--threads", str(self.threads)],
                env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if wait:
            while True:
                try:
                    if self.get("/readyz", timeout=5)[0] in (200, 503):
                        # The kiosk's socket is opened after the daemon's own.
                        if "FILOSCOPE_KIOSK" in self.env:
                            UnixHTTP(self.env["FILOSCOPE_KIOSK"]).connect()
                        break
                except OSError:
                    pass
                if self.process.poll() is not None:
                    raise AssertionError(f"filoscoped ended with {self.process.returncode}:\n{self.log.read_text()}")
                assert time.monotonic() - started < 20, "not ready within 20 s\n" + self.log.read_text()
                time.sleep(0.005)
            self.ready_after = time.monotonic() - started
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("SIGTERM was not obeyed within 20 s")
        return self.process.returncode if self.process else None

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = UnixHTTP(self.socket, timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body).encode()
                headers = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
        finally:
            connection.close()

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def json(self, method, path, body=None, expect=200, **options):
        status, headers, data = self.request(method, path, body, **options)
        assert status == expect, f"{method} {path}: {status} {data[:500]!r}"
        return json.loads(data)

    def create(self, prompt="a red apple moving right on the grass", **fields):
        return self.json("POST", "/v1/videos", {"prompt": prompt, "seed": 1, **fields})

    def finish(self, id, seconds=120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            video = self.json("GET", f"/v1/videos/{id}")
            if video["status"] in ("completed", "failed"):
                return video
            time.sleep(0.02)
        raise AssertionError(f"{id} is still {video['status']} after {seconds} s")

    def events(self, id, **headers):
        """(event, data) pairs until the stream ends."""
        connection = UnixHTTP(self.socket, 120)
        connection.request("GET", f"/v1/videos/{id}/events", headers={"Accept": "text/event-stream", **headers})
        answer = connection.getresponse()
        assert answer.status == 200
        name, data = None, []
        for line in answer:
            line = line.decode().rstrip("\r\n")
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line and data:
                yield name, json.loads("\n".join(data))
                name, data = None, []
        connection.close()


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path).start()
    yield daemon
    assert daemon.process.poll() is None, "the daemon died:\n" + daemon.log.read_text()
    assert daemon.stop() == 0, daemon.log.read_text()


@pytest.fixture
def daemons(tmp_path):
    """Makes daemons with other models, environments or thread counts; ends them all."""
    made = []

    def make(models=MODELS, threads=2, env=None, name=None):
        folder = tmp_path / (name or f"d{len(made)}")
        folder.mkdir()
        made.append(Daemon(folder, models, threads, env))
        return made[-1]

    yield make
    for daemon in made:
        if daemon.process and daemon.process.poll() is None:
            daemon.kill()


@pytest.fixture
def own_models(tmp_path):
    """A copy of the models that a test may damage."""
    return pathlib.Path(shutil.copytree(MODELS, tmp_path / "models"))


def cli(daemon, *arguments, **options):
    return subprocess.run([str(BIN / "filoscope"), *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, "FILOSCOPE_SOCKET": str(daemon.socket)}, timeout=120, **options)
