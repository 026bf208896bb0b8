"""Write the float model folder that the quantizer reads: three safetensors files, config.json, and from the cache the
latents that int8 convolutions are calibrated on.

With --average the weights lie between two checkpoints that began as one.
With --into a model folder gets a new transformer, and nothing else in it changes: what was trained on its latents fits its
autoencoder, text encoder and previews.
"""

import json
import os
import shutil

import torch
from filoscope_quantization import architecture, model_folder, tensor_file
from safetensors.torch import save_file

from . import autoencoder, cache_latents, data, generator, transformer
from .train_preview import Preview

STEPS, GUIDANCE, SHIFT = 12, 1.5, 3.0
CALIBRATION_CLIPS = 64


def configuration(transformer_config, mean, std, steps=STEPS, guidance=GUIDANCE):
    # Without guidance nobody looks at a negative prompt: one brings this with it.
    guidance = {"default": guidance, "min": 1, "max": 10, "negative": max(guidance, 1.5)}
    return {
        "name": "nano", "family": "wan",
        "description": f"nano: one of {len(generator.SUBJECTS)} subjects, doing one of {len(generator.MOTIONS)} motions, "
                       f"in one of {len(generator.PLACES)} places; 64x64, 96x64 or 64x96, 17 frames",
        "licence": "Apache-2.0 (weights); glyph data OFL-1.1/Apache-2.0",
        "transformer": transformer_config,
        "autoencoder": autoencoder.NANO,
        "preview": {"kind": "conv", "widths": [48, 48], "pixel_shuffle": 4},
        "latents": {"mean": mean, "std": std},
        "text": {"max_tokens": 24},
        "generation": {"prediction": "sample", "shift": SHIFT, "steps": steps, "guidance": guidance,
                       "fps": 8, "sizes": [f"{width}x{height}" for width, height in generator.SIZES], "max_frames": 17},
        "words": {"subjects": {name: names for name, (names, _) in generator.SUBJECTS.items()},
                  "motions": generator.MOTIONS, "places": generator.PLACES},
    }


def replace_transformer(folder, model, steps, guidance):
    """The card is written last and says the new file's hash: until then the folder is not verified."""
    card = os.path.join(folder, "model.json")
    with open(card, encoding="utf-8") as file:
        description = json.load(file)
    name = description["transformer"]["file"]
    weights = {key: value.numpy() for key, value in transformer.diffusers_state(model).items()}
    layers = architecture.networks(description)[name]
    tensors, _ = model_folder.engine_tensors(layers, weights, quantize=True)
    tensor_file.write_tensor_file(os.path.join(folder, name), tensors)
    new = configuration(model.config, [], [], steps, guidance)
    description["description"] = new["description"]
    description["files"][name] = model_folder.file_identity(os.path.join(folder, name))
    description["generation"]["sizes"] = new["generation"]["sizes"]
    description["generation"]["steps"]["default"] = steps
    description["generation"]["guidance"]["default"] = guidance
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    tensor_file.write_atomically(card, [text.encode()])
    print(f"{folder}: a transformer of {description['files'][name]['bytes']} bytes")


def main(arguments=None):
    parser = data.arguments(__doc__)
    parser.add_argument("--out", help="default: nano-float in the folder of checkpoints")
    parser.add_argument("--name", default="transformer", help="which checkpoint: transformer or distilled")
    parser.add_argument("--average", nargs=2, metavar=("NAME", "PART"), help="so much of this checkpoint's weights, the rest --name's")
    parser.add_argument("--into", help="a model folder that gets this transformer, int8 as its other one was")
    options = parser.parse_args(arguments)
    path = data.start(options)
    out = options.out or path("nano-float")

    model, steps, guidance = transformer.Transformer(), STEPS, GUIDANCE
    state = data.load(path(options.name + ".pt"))
    if state is not None:
        if options.name != "transformer":
            steps, guidance = state["steps"], 1.0
        model = transformer.Transformer(state["config"])
        model.load_state_dict(state["ema"])
    if options.average:
        name, share = options.average
        other = data.load(path(name + ".pt"))["ema"]
        model.load_state_dict({key: torch.lerp(value, other[key], float(share)) for key, value in model.state_dict().items()})
    if options.into:
        replace_transformer(options.into, model, steps, guidance)
        return
    coder = autoencoder.Autoencoder()
    state = data.load(path("autoencoder-decoder.pt")) or data.load(path("autoencoder.pt"))
    if state is not None:
        coder.load_state_dict(state["model"])
    preview = Preview()
    state = data.load(path("preview.pt"))
    if state is not None:
        preview.load_state_dict(state["model"])
    plain = {"mean": 0.0, "std": 1.0}
    statistics = data.load(path("statistics.pt")) or {
        name: torch.full((coder.config["latent_channels"],), value) for name, value in plain.items()}

    part = out + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    save_file(transformer.diffusers_state(model), os.path.join(part, "transformer.safetensors"))
    for name, module in (("autoencoder", coder), ("preview", preview)):
        tensors = {key: value.float().contiguous().clone() for key, value in module.state_dict().items()}
        save_file(tensors, os.path.join(part, name + ".safetensors"))
    cached = cache_latents.parts(path)
    if cached:
        latents = data.load(cached[0])["latents"][:CALIBRATION_CLIPS]  # [clips, C, T, H, W]
        save_file({"latents": latents.contiguous().clone()}, os.path.join(part, "calibration.safetensors"))
    with open(os.path.join(part, "config.json"), "w") as file:
        mean, std = (statistics[name].tolist() for name in ("mean", "std"))
        json.dump(configuration(model.config, mean, std, steps, guidance), file, indent=1)
        file.write("\n")
    if os.path.isdir(out):
        os.replace(out, out + ".old")
    os.replace(part, out)
    shutil.rmtree(out + ".old", ignore_errors=True)
    print(f"{out}: " + ", ".join(f"{name} {os.path.getsize(os.path.join(out, name)) / 1e6:.1f} MB"
                                 for name in sorted(os.listdir(out))))


if __name__ == "__main__":
    main()
