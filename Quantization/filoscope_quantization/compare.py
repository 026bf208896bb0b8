"""int8 against float, with the engine's integer arithmetic emulated: the cosine of the transformer's output."""

import fnmatch
import re
from pathlib import Path

import numpy as np

from . import QuantizationError
from .model_folder import TEXT_FILE, load, load_model_folder
from .tensor_file import TensorFile

PROMPTS = (
    "a red apple moving to the right on a green meadow", "a dog bouncing up and down at night under the stars",
    "a penguin spinning around on a white background", "a butterfly floating upwards in the sky",
    "a rocket growing bigger in front of a sunset", "a sailboat drifting from right to left by the sea",
    "kitten hopping in a field", "a yellow banana",
)


def emulate(network, file, patterns=("*",)):
    """Replaces the linears that are int8 in `file` and match a pattern; returns how many."""
    import torch
    from torch import nn

    class Int8Linear(nn.Module):
        """Activations int8 with one scale per row; products summed exactly, as float64 does for these sizes."""

        def __init__(self, linear, name):
            super().__init__()
            scale = torch.from_numpy(file.float32(f"{name}.scale")[:linear.out_features].copy())
            # The network holds int8 times scale: undoing it is exact to rounding.
            values = linear.weight.double() / torch.where(scale > 0, scale, 1).double()[:, None]
            self.weight, self.scale, self.bias = values.round(), scale, linear.bias

        def forward(self, x):
            largest = x.abs().amax(-1, keepdim=True)
            q = torch.where(largest > 0, x * (127 / largest), 0).round()
            sums = (q.double() @ self.weight.T).float()
            return sums * (largest / 127 * self.scale) + self.bias

    count = 0
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear) and f"{name}.weight" in file and file.dtype(f"{name}.weight") == "I8" and \
                any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            parent, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(parent), leaf, Int8Linear(module, name))
            count += 1
    return count


def kinds(file):
    """Patterns of a file's int8 layers, one for each kind: the layer's index becomes *."""
    names = [name.removesuffix(".weight") for name in file if file.dtype(name) == "I8"]
    return list(dict.fromkeys(re.sub(r"^(blocks|encoder\.layer)\.\d+", r"\1.*", name) for name in names))


def run(float_dir, model_dir, prompts=(), steps=5, seed=1, layers=False, minimum=0.999, text_encoder=None):
    """Prints cosines; returns 1 if the smallest of transformer, or of transformer and text encoder, is too small."""
    import torch

    from .reference_networks import ReferenceModel

    torch.set_num_threads(1)
    prompts = prompts or PROMPTS
    original, quantized = load(float_dir, text_encoder), load_model_folder(model_dir)
    files = {name: TensorFile(Path(model_dir) / name) for name in ("transformer.safetensors", TEXT_FILE)}
    if original.weights.keys() != quantized.weights.keys() or \
            original.description["transformer"] != {
                name: value for name, value in quantized.description["transformer"].items() if name != "file"}:
        raise QuantizationError(f"{float_dir} and {model_dir} are not the same network")
    reference = ReferenceModel(original)
    shape = latent_shape(original.description)
    generator = np.random.default_rng(seed)

    points = []  # (latents, timesteps, prompt, output) along the float model's own trajectories
    for prompt in prompts:
        noise = torch.from_numpy(generator.standard_normal(shape).astype(np.float32))
        reference.sample(noise, prompt, steps, 1,
                         lambda latents, timesteps, prompt=prompt: points.append((latents, timesteps, prompt)))
    texts = {prompt: reference.text(prompt) for prompt in prompts}
    points = [(*point, reference.forward(point[0], point[1], texts[point[2]])) for point in points]
    if any(not output.any() for *_, output in points):
        raise QuantizationError(f"{float_dir}: the transformer's output is all zero: is it trained?")

    def measure(model, given):
        cosines = [cosine(model.forward(latents, timesteps, given[prompt]), output)
                   for latents, timesteps, prompt, output in points]
        return min(cosines), sum(cosines) / len(cosines)

    def report(label, values):
        print(f"{label:58} smallest {values[0]:.6f} mean {values[1]:.6f}")
        return values[0]

    def model(transformer=(), text=()):
        """The float networks but for the layers that match, which are the quantized model's."""
        weights = dict(original.weights)
        for file, patterns in (("transformer.safetensors", transformer), (TEXT_FILE, text)):
            weights[file] = {name: (quantized if any(
                fnmatch.fnmatchcase(name.removesuffix(".weight"), pattern) for pattern in patterns)
                else original).weights[file][name] for name in weights[file]}
        mixed = ReferenceModel(type(original)(original.description, weights, original.vocabulary))
        if transformer:
            emulate(mixed.transformer, files["transformer.safetensors"], transformer)
        if text:
            emulate(mixed.text_encoder, files[TEXT_FILE], text)
        return mixed

    print(f"{len(points)} outputs of {len(prompts)} prompts at {steps} timesteps, latents {list(shape)}, unguided")
    worst = report("transformer int8", measure(model(transformer=("*",)), texts))
    whole = model(transformer=("*",), text=("*",))
    states = {prompt: whole.text(prompt) for prompt in prompts}
    worst = min(worst, report("transformer and text encoder int8", measure(whole, states)))
    similar = [cosine(states[prompt], texts[prompt]) for prompt in prompts]
    report("text encoder's states int8", (min(similar), sum(similar) / len(similar)))
    if layers:
        for pattern in kinds(files["transformer.safetensors"]):
            report(f"int8 only in {pattern}", measure(model(transformer=(pattern,)), texts))
        for pattern in kinds(files[TEXT_FILE]):
            encoder = model(text=(pattern,))
            similar = [cosine(encoder.text(prompt), texts[prompt]) for prompt in prompts]
            report(f"text states, int8 only in {pattern}", (min(similar), sum(similar) / len(similar)))
    if worst < minimum:
        print(f"below {minimum}")
        return 1
    return 0


def latent_shape(description):
    """[C, T, H, W] of the first size and the greatest length that the model makes."""
    width, height = (int(side) for side in description["generation"]["sizes"][0].split("x"))
    decoder, patch = description["autoencoder"]["decoder"], description["autoencoder"]["patch_size"]
    space, time = patch * int(np.prod(decoder["space"])), int(np.prod(decoder["time"]))
    frames = (description["generation"]["frames"]["max"] - 1) // time + 1
    return description["autoencoder"]["latent_channels"], frames, height // space, width // space


def cosine(a, b):
    a, b = a.double().flatten(), b.double().flatten()
    return float(a @ b / (a.norm() * b.norm()).clamp_min(1e-300))
