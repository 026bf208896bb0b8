"""A video from given noise by the reference implementations, to compare the engine's with."""

import struct
import zlib
from pathlib import Path

import numpy as np

from . import QuantizationError
from .model_folder import load
from .tensor_file import TensorFile, write_atomically, write_tensor_file


def run(folder, prompt, noise, out, steps=None, guidance=None, text_encoder=None):
    import torch

    from .reference_networks import ReferenceModel

    checkpoint = load(folder, text_encoder)
    generation = checkpoint.description["generation"]
    steps = generation["steps"]["default"] if steps is None else steps
    guidance = float(generation["guidance"]["default"] if guidance is None else guidance)
    if not 1 <= steps <= 1000:
        raise QuantizationError(f"--steps is {steps}, must be 1...1000")
    file = TensorFile(noise)
    start = file.float32("noise")
    channels = checkpoint.description["autoencoder"]["latent_channels"]
    patch = checkpoint.description["transformer"]["patch_size"]
    if start.ndim != 4 or start.shape[0] != channels or any(
            extent % side for extent, side in zip(start.shape[1:], patch)):
        raise QuantizationError(f"{noise}: 'noise' is {list(start.shape)}, must be [{channels}, T, H, W] with T, H, W "
                                f"multiples of {patch}")
    torch.set_num_threads(1)
    model = ReferenceModel(checkpoint)
    latents = model.sample(torch.from_numpy(start.copy()), prompt, steps, guidance)
    frames = round_frames(model.decode(latents).numpy())

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_tensor_file(out / "reference.safetensors", {"latents": latents.numpy(), "frames": frames}, {
        "prompt": prompt, "steps": str(steps), "guidance": str(guidance), "model": checkpoint.description["name"]})
    for index, frame in enumerate(frames):
        write_png(out / f"frame-{index:03}.png", frame)
    print(f"wrote {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]} to {out}")


def round_frames(frames):
    """[…, 3] in 0...1 to bytes as the engine rounds: half to even, of the float32 product."""
    return np.rint(np.clip(frames, 0, 1).astype(np.float32) * np.float32(255)).astype(np.uint8)


def write_png(path, image):
    """image: uint8 [height, width, 3]."""
    height, width, _ = image.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with filter 0
    rows[:, 1:] = image.reshape(height, 3 * width)
    chunks = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
                       (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")):
        chunks.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    write_atomically(path, chunks)
