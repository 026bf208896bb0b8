#!/usr/bin/env python3
"""Preview streams under load: frame rates with and without a stalled client, how stale it is when it resumes, memory per client.

usage: bench-streams.py [--programs .build/release] [--clients 100] [--crowd 1000] [--seconds 6]
"""
import argparse
import http.client
import json
import os
import pathlib
import re
import selectors
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def ask(path, method, target, body=None):
    connection = http.client.HTTPConnection("filoscope")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    connection.request(method, target, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


class Client:
    """A stream that is read, or not; counts the parts and remembers when the newest of them was made."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.sendall(b"GET /preview.mjpeg HTTP/1.1\r\nHost: bench\r\n\r\n")
        self.frames, self.made, self.rest = 0, 0.0, b""

    def read(self):
        data = self.rest + self.socket.recv(1 << 16)
        stamps = re.findall(rb"X-Timestamp: ([\d.]+)\r\n", data)
        self.frames += len(stamps)
        if stamps:
            self.made = float(stamps[-1])
        # A line that is cut in two is counted once.
        self.rest = data[data.rfind(b"\n") + 1:][-64:]


def keep_busy(path, stop):
    """There is always a job."""
    seed = 0
    while not stop.is_set():
        seed += 1
        if ask(path, "POST", "/v1/videos", {"prompt": "a frog bouncing at night", "seed": seed, "steps": 50})[0] != 200:
            time.sleep(0.3)


def watch(clients, seconds, stalled=()):
    """Frames of each client within that time."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            if client not in stalled:
                selector.register(client.socket, selectors.EVENT_READ, client)
        for client in clients:
            client.frames = 0
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                key.data.read()
    return [client.frames / seconds for client in clients if client not in stalled]


def resident(process):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", text).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", default=ROOT / ".build/release", type=pathlib.Path)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--crowd", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, settings = f"{folder}/socket", pathlib.Path(folder) / "settings.json5"
        settings.write_text(json.dumps({"limits": {"connections": options.crowd + 50, "connections_per_user": options.crowd + 50}}))
        process = subprocess.Popen([options.programs / "filoscoped", "--config", settings, "--listen", path, "--state", f"{folder}/state",
                                    "--models", ROOT / "Models", "--threads", "1"], stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(path) or ask(path, "GET", "/readyz")[0] != 200:
                time.sleep(0.05)
            measure(options, path, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def measure(options, path, process):
    stop = threading.Event()
    worker = threading.Thread(target=keep_busy, args=(path, stop))
    worker.start()
    time.sleep(2)
    clients = [Client(path) for _ in range(options.clients)]
    watch(clients, 1)
    # In turns, so that what else the machine does falls on both.
    without, with_stalled = [], []
    stalled = clients[0]
    for _ in range(3):
        without.append(statistics.mean(watch(clients, options.seconds)))
        with_stalled.append(statistics.mean(watch(clients, options.seconds, stalled=[stalled])))
    change = statistics.median(with_stalled) / statistics.median(without) - 1
    print(f"{options.clients} clients: {statistics.median(without):.1f} frames/s each; with one of them stalled "
          f"{statistics.median(with_stalled):.1f} ({100 * change:+.1f} %)")
    resumed, stalled.made = time.time(), 0.0
    stalled.socket.settimeout(10)
    while time.time() - stalled.made > 0.5:
        stalled.read()
    print(f"the stalled one, after {options.seconds:.0f} s: a frame less than 0.5 s old came {1000 * (time.time() - resumed):.0f} ms after it "
          f"read again, {1000 * (time.time() - stalled.made):.0f} ms old")
    stop.set()
    worker.join()
    for client in clients:
        client.socket.close()
    time.sleep(3)
    before = resident(process)
    crowd = [Client(path) for _ in range(options.crowd)]
    watch(crowd, 3)
    after = resident(process)
    frames = [client.frames for client in crowd]
    print(f"{options.crowd} clients: {(after - before) / options.crowd:.1f} KB of private memory each ({before} to {after} KB); "
          f"each saw at least {min(frames)} frames of the newest video")
    ask(path, "POST", "/v1/videos", {"prompt": "a frog bouncing at night", "steps": 50})
    rates = watch(crowd, 3)
    print(f"during a job: {statistics.mean(rates):.1f} frames/s each, the slowest {min(rates):.1f}; "
          f"{(resident(process) - before) / options.crowd:.1f} KB each")


main()
