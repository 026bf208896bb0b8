"""Train the preview decoder: one normalised latent frame to the video frame it stands for."""

import torch
import torch.nn.functional as F
from torch import nn

from . import autoencoder, cache_latents, data, generator


class Preview(nn.Module):
    """Three convolutions and a pixel shuffle: latent frame k -> video frame 4k, in 0..1."""

    def __init__(self, channels=autoencoder.NANO["latent_channels"], widths=(48, 48), scale=4):
        super().__init__()
        sizes = [channels, *widths, 3 * scale * scale]
        self.conv = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in zip(sizes, sizes[1:])])
        self.scale = scale

    def forward(self, latent):
        for layer in self.conv[:-1]:
            latent = F.relu(layer(latent))
        return F.pixel_shuffle(self.conv[-1](latent), self.scale)


def load(path):
    model = Preview()
    model.load_state_dict(data.load(path("preview.pt"))["model"])
    return model.eval()


def main():
    parser = data.arguments(__doc__, minutes=3)
    options = parser.parse_args()
    path = data.start(options)
    world = generator.small_world(path("sprites"))
    statistics = data.load(path("statistics.pt"))
    mean, std = (statistics[key].view(-1, 1, 1) for key in ("mean", "std"))

    def clips(number, count):
        """The first clips of a cached part: latent frames, and the frames they stand for, rendered again."""
        part = data.load(cache_latents.parts(path)[number])
        g = torch.Generator().manual_seed(cache_latents.KINDS["latents"] + number)
        labels = world.trained_labels(cache_latents.PART, g)
        assert torch.equal(labels, part["labels"]), "the cache was made with another generator"
        video = torch.cat([world.render(some, g) for some in labels[:count].split(cache_latents.BATCH)])
        latents = part["latents"][:count].float().transpose(1, 2).flatten(0, 1)
        return (latents - mean) / std, video[:, ::4].flatten(0, 1)

    latents, frames = clips(0, 640)
    test = clips(1, 64)
    g = torch.Generator().manual_seed(21)
    model, progress = Preview(), data.Progress(options.minutes)
    state = data.load(path("preview.pt"))
    if state is not None:
        model.load_state_dict(state["model"])
        progress = data.Progress(options.minutes, state["clips"], state["minutes"])
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-3)
    while progress.part < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - progress.part) + 2e-5
        some = torch.randint(len(latents), (32,), generator=g)
        # A guess half way is not a clean latent: some noise, so that previews of guesses stay calm.
        guess = latents[some] + 0.1 * torch.randn(latents[some].shape, generator=g)
        error = model(guess) - frames[some]
        loss = error.abs().mean() + 4 * error.pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.add(32, loss=loss.item())
    data.save({"model": model.state_dict(), "clips": progress.clips, "minutes": progress.elapsed}, path("preview.pt"))
    with torch.no_grad():
        print(f"preview {data.psnr(model(test[0]).clamp(0, 1), test[1]):.2f} dB on clips not trained on")


if __name__ == "__main__":
    main()
