"""A small network that says which subject, motion and place a clip of any of nano's sizes shows.

Trained on rendered clips alone (facing at random, so that motion is not read from it), roughened: blurred, with less
resolution, other colours, noise. Its score on reconstructions by the autoencoder, which evaluation prints, bounds what it
can say about a model.
"""

import torch
import torch.nn.functional as F
from filoscope_quantization.tensor_file import write_tensor_file
from torch import nn

from . import data, generator

BATCH = 32


class Judge(nn.Module):
    def __init__(self):
        super().__init__()

        def stage(inputs, outputs):
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

        self.features = nn.Sequential(stage(3, 24), stage(24, 48), stage(48, 96))
        self.frame = nn.Linear(96 * 16, 96)
        self.subject = nn.Sequential(nn.Linear(96 * 16, 128), nn.ReLU())
        self.to_subject = nn.Linear(128, len(generator.NAMES))
        self.to_motion = nn.Sequential(nn.Linear(96 * 5, 128), nn.ReLU(), nn.Linear(128, len(generator.MOTION_NAMES)))
        self.to_place = nn.Linear(96, len(generator.PLACE_NAMES))

    def forward(self, clips):
        """[B, 17, 3, height, width] -> logits of subject, motion and place."""
        x = clips[:, ::4]
        batch = len(x)
        y = F.adaptive_avg_pool2d(self.features(F.avg_pool2d(x.flatten(0, 1) - 0.5, 2)), 4).flatten(1)
        frames = F.relu(self.frame(y)).view(batch, 5, -1)
        subject = self.to_subject(self.subject(y).view(batch, 5, -1).mean(1))
        return subject, self.to_motion(frames.flatten(1)), self.to_place(frames.mean(1))

    @torch.no_grad()
    def right(self, clips, labels):
        """Whether subject, motion and place are what `labels` says: [B, 3] of 0 and 1."""
        guesses = [logits.argmax(1) for part in clips.split(64) for logits in self(part)]
        guesses = torch.stack([torch.cat(guesses[i::3]) for i in range(3)], 1)
        return (guesses == labels).float()


def roughen(clips, g):
    """Blur or lose resolution, shift colours a little, add noise."""
    batch, frames = clips.shape[:2]
    flat = clips.flatten(0, 1)
    kind = torch.rand(1, generator=g).item()
    if kind < 0.3:
        flat = F.avg_pool2d(F.pad(flat, (1, 1, 1, 1), mode="replicate"), 3, 1)
    elif kind < 0.5:
        flat = F.interpolate(F.avg_pool2d(flat, 2), scale_factor=2, mode="bilinear")
    clips = flat.view(clips.shape)
    clips = clips + 0.05 * torch.randn(batch, 1, 3, 1, 1, generator=g)
    return (clips + 0.06 * torch.rand(1, generator=g).item() * torch.randn(clips.shape, generator=g)).clamp(0, 1)


@torch.no_grad()
def export(judge, file):
    """What `filoscope-bench coherence --judge` takes: the networks' weights, and in what order it names things."""
    tensors = {}
    for number, (convolution, norm, _) in enumerate(judge.features):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        tensors[f"features.{number}.weight"] = convolution.weight * scale[:, None, None, None]
        tensors[f"features.{number}.bias"] = (convolution.bias - norm.running_mean) * scale + norm.bias
    for name, layer in (("frame", judge.frame), ("subject", judge.subject[0]), ("to_subject", judge.to_subject),
                        ("motion", judge.to_motion[0]), ("to_motion", judge.to_motion[2]), ("to_place", judge.to_place)):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = layer.weight, layer.bias
    write_tensor_file(file, {name: value.float().contiguous().numpy() for name, value in tensors.items()}, {
        "subjects": ",".join(generator.NAMES), "motions": ",".join(generator.MOTION_NAMES),
        "places": ",".join(generator.PLACE_NAMES)})


def load(path):
    judge = Judge()
    judge.load_state_dict(data.load(path("judge.pt"))["model"])
    return judge.eval()


def main():
    parser = data.arguments(__doc__, minutes=6)
    options = parser.parse_args()
    path = data.start(options)
    worlds = [generator.small_world(path("sprites"), size) for size in generator.SIZES]
    world = worlds[0]
    g = torch.Generator().manual_seed(11)
    labels = world.labels(256, g)
    real = torch.cat([world.render(part, g, random_facing=True) for part in labels.split(32)])

    model, progress = Judge(), data.Progress(options.minutes)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    state = data.load(path("judge.pt"))
    if state is not None:
        model.load_state_dict(state["model"])
        progress = data.Progress(options.minutes, state["clips"], state["minutes"])
    while progress.part < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - progress.part) + 5e-5
        truth = world.labels(BATCH, g)
        one = worlds[torch.randint(len(worlds), (), generator=g)]
        clips = roughen(one.render(truth, g, random_facing=True), g)
        guesses = model(clips)
        loss = sum(F.cross_entropy(guess, truth[:, k]) for k, guess in enumerate(guesses))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        progress.add(BATCH, loss=loss.item())
    data.save({"model": model.state_dict(), "clips": progress.clips, "minutes": progress.elapsed}, path("judge.pt"))
    model.eval()
    export(model, path("judge.safetensors"))
    print("subject, motion, place right on rendered clips:", model.right(real, labels).mean(0).tolist())


if __name__ == "__main__":
    main()
