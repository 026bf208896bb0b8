"""Clips made by the real daemon: what users get, int8 and all."""

import base64
import http.client
import io
import json
import os
import socket
import struct
import subprocess
import tempfile
import time

import numpy
import torch
from PIL import Image

from .data import ROOT


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("filoscope", timeout=600)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


def frames_of(avi):
    """The JPEG frames of a Motion JPEG AVI: [time, 3, height, width] in 0..1."""
    at, frames = avi.index(b"movi") + 4, []
    while avi[at:at + 4] == b"00dc":
        length = struct.unpack("<I", avi[at + 4:at + 8])[0]
        pixels = numpy.array(Image.open(io.BytesIO(avi[at + 8:at + 8 + length])).convert("RGB"))
        frames.append(torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
        at += 8 + length + length % 2
    return torch.stack(frames)


class Daemon:
    """filoscoped on a private socket; used in a `with` statement."""

    def __init__(self, programs=None, models=None, threads=2):
        self.programs = programs or os.path.join(ROOT, ".build/release")
        self.models, self.threads = models or os.path.join(ROOT, "Models"), threads

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.folder.name, "socket")
        self.process = subprocess.Popen(
            [os.path.join(self.programs, "filoscoped"), "--listen", self.socket, "--models", self.models,
             "--state", os.path.join(self.folder.name, "state"), "--threads", str(self.threads)],
            stderr=subprocess.DEVNULL)
        until = time.time() + 20
        while True:
            try:
                if self._ask("GET", "/readyz")[0] == 200:
                    return self
            except OSError:
                pass
            if time.time() > until:
                raise RuntimeError("the daemon is not ready after 20 s")
            time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()

    def _ask(self, method, path, fields=None):
        connection = _Connection(self.socket)
        body = None if fields is None else json.dumps(fields)
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        result = answer.status, answer.read()
        connection.close()
        return result

    def make(self, path="/v1/videos", **fields):
        """A finished video's object; it stays with the daemon until `forget`."""
        status, body = self._ask("POST", path, fields)
        if status not in (200, 201, 202):
            raise RuntimeError(body.decode())
        video = json.loads(body)
        while video["status"] in ("queued", "in_progress"):
            time.sleep(0.02)
            video = json.loads(self._ask("GET", f"/v1/videos/{video['id']}")[1])
        if video["status"] != "completed":
            raise RuntimeError(f"{fields}: {video['error']}")
        return video

    def clip(self, video):
        """Its frames [time, 3, height, width] in 0..1."""
        return frames_of(self._ask("GET", f"/v1/videos/{video['id']}/content?variant=video&format=avi")[1])

    def forget(self, video):
        self._ask("DELETE", f"/v1/videos/{video['id']}")

    def __call__(self, prompt, path="/v1/videos", **fields):
        """One clip [time, 3, height, width]."""
        video = self.make(path, prompt=prompt, **fields)
        content = self.clip(video)
        self.forget(video)
        return content


def picture(frame):
    """A frame [3, height, width] in 0..1 as a request's `input_reference`: a PNG as a data URL."""
    pixels = (frame.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"image_url": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()}
