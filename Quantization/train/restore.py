"""Checkpoints from a model folder that ships: what training goes on from where nothing else was kept.

What int8 rounded away stays away (47 dB of the videos), which training soon makes good. Files that are there already stay
as they are.
"""

import os

import torch
from filoscope_quantization import model_folder

from . import autoencoder, data, transformer
from .train_preview import Preview


NANO = os.path.join(data.ROOT, "Models", "nano")


def main(arguments=None):
    parser = data.arguments(__doc__)
    parser.add_argument("--model", default=NANO, help="the model folder")
    options = parser.parse_args(arguments)
    path = data.start(options)
    checkpoint = model_folder.load_model_folder(options.model)
    weights = {file.removesuffix(".safetensors"): {name: torch.from_numpy(values.copy()) for name, values in tensors.items()}
               for file, tensors in checkpoint.weights.items()}
    model, coder, preview = transformer.Transformer(), autoencoder.Autoencoder(), Preview()
    transformer.load_diffusers_state(model, weights["transformer"])
    coder.load_state_dict({_numbered(name): value for name, value in weights["autoencoder"].items()})
    preview.load_state_dict(weights["preview"])
    generation = checkpoint.description["generation"]
    latents = {name: torch.tensor(checkpoint.description["latents"][name]) for name in ("mean", "std")}
    state = model.state_dict()
    for name, content in {
        "shipped": {"model": state, "ema": state, "config": model.config, "count": 0, "clips": 0, "minutes": 0.0,
                      "guidance": 1, "steps": generation["steps"]["default"]},
        "autoencoder": {"model": coder.state_dict()}, "preview": {"model": preview.state_dict()}, "statistics": latents,
    }.items():
        file = path(name + ".pt")
        if not os.path.exists(file):
            data.save(content, file)
            print(file)


def _numbered(name):
    """Model folders number the encoder's layers without the pixels' unshuffling, which is layer 0 here."""
    part, index, *rest = name.split(".")
    return ".".join([part, str(int(index) + (part == "encoder")), *rest])


if __name__ == "__main__":
    main()
