"""usage: every_ability.py FILOSCOPE SOCKET

Makes a small video with each ability through the command line, and prints a line for each: the ability and the sum of its frames. Two
daemons that make the same frames print the same lines, whatever CPUs they have.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

from pictures import png

SHORT = ("--steps", 2, "--seed", 7)
SMALL = ("--size", "64x64", "--seconds", 1)


def main(program, socket, folder):
    def file(name, data):
        (folder / name).write_bytes(data)
        return folder / name

    def run(ability, *arguments, ending="y4m"):
        words = [program, *arguments, *SHORT, "--socket", socket, "--json", "-o", folder / f"{ability}.{ending}"]
        result = subprocess.run(list(map(str, words)), capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{ability}: {result.stderr}")
        video = json.loads(result.stdout)
        assert video["status"] == "completed", video
        print(ability, video["frames_sha256"], flush=True)
        return video["id"]

    picture = file("ball.png", png(64, 64, lambda x, y: (250, 90, 20) if (x - 30) ** 2 + (y - 30) ** 2 < 300 else (90, 160, 250)))
    mask = file("mask.png", png(64, 64, lambda x, y: (255,) * 3 if x >= 32 else (0, 0, 0)))
    apple = run("text", "generate", "a red apple moving right on the grass", *SMALL)
    frog = run("text-again", "generate", "a frog bouncing in the snow", *SMALL)
    run("still", "image", "a sailboat at sunset", ending="png")
    run("landscape", "generate", "a car moving left in the snow", "--size", "96x64", "--seconds", 1)
    run("portrait", "generate", "a rocket rising up at night", "--size", "64x96", "--seconds", 1)
    run("windows", "generate", "a penguin moving right in the ocean", "--size", "64x64", "--seconds", 4)
    run("first-frame", "generate", "a soccer ball moving right", *SMALL, "--image", picture)
    run("last-frame", "generate", "a soccer ball moving right", *SMALL, "--end-image", picture)
    run("first-and-last-frame", "generate", "a soccer ball spinning", *SMALL, "--image", picture, "--end-image", picture)
    run("loop", "generate", "a frog spinning at night", *SMALL, "--loop")
    run("forward", "extend", apple, "a red apple moving right on the grass", "--seconds", 1)
    run("backward", "extend", apple, "a red apple moving right on the grass", "--seconds", 1, "--backward")
    run("remix", "remix", frog, "a cat bouncing in the snow")
    run("edit", "edit", apple, "a soccer ball moving right on the grass", "--strength", 0.6)
    run("masked-edit", "edit", apple, "a red apple moving right at night", "--strength", 0.6, "--mask", mask)
    run("uploaded-edit", "edit", folder / "text.y4m", "a soccer ball moving right", "--strength", 0.6)
    run("blend", "blend", apple, frog, "--seconds", 1)
    run("storyboard", "storyboard", "0:a frog bouncing in the snow", "2:a frog bouncing at night", "--size", "64x64", "--seconds", 4)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(*sys.argv[1:], pathlib.Path(folder))
