"""`filoscope-bench coherence`: what is measured on nano is what must be so, whatever it is worth."""
import json
import struct
import subprocess

from conftest import BIN, MODELS


def coherence(*arguments):
    run = subprocess.run([str(BIN / "filoscope-bench"), "coherence", str(MODELS / "nano"), "--json", *map(str, arguments)],
                         capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr
    return {(row["part"], row["figure"]): row["value"] for row in json.loads(run.stdout)}


def test_what_holds_together(tmp_path):
    figures = coherence("--prompts", 3, "--seconds", 4, "--sheet", tmp_path / "sheet.jpg")
    assert figures["first frame", "comes back at"] > figures["first frame", "the autoencoder's own"] - 1
    assert figures["loops", "closure, worst"] <= 1.5
    assert 0 < figures["4.0 s", "seam"] < 10 and 0 < figures["extensions", "joint, forward"] < 10
    kept = [figures[f"edit, strength {strength}", "as it was"] for strength in (0.3, 0.5, 0.7, 0.9)]
    assert kept == sorted(kept, reverse=True) and kept[0] > 18
    assert figures == coherence("--prompts", 3, "--seconds", 4)
    assert (tmp_path / "sheet.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_no_judge_is_taken_for_one(tmp_path):
    def refused(path):
        run = subprocess.run([str(BIN / "filoscope-bench"), "coherence", str(MODELS / "nano"), "--judge", str(path)],
                             capture_output=True, text=True)
        assert run.returncode != 0
        return run.stderr

    assert "preview.safetensors" in refused(MODELS / "nano" / "preview.safetensors")
    header = json.dumps({"frame.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}).encode()
    header += b" " * (-(8 + len(header)) % 64)
    (tmp_path / "one").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert "features.0" in refused(tmp_path / "one")
