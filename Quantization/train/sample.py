"""Make clips from prompts: Euler steps over shifted times, with guidance; frames may be given."""

import torch

SHIFT = 3.0


def schedule(steps, shift=SHIFT):
    s = torch.linspace(1, 0, steps + 1)
    return shift * s / (1 + (shift - 1) * s)


@torch.no_grad()
def sample(model, text, g, steps=16, guidance=2.5, known=None, mask=None, frames=5, size=(16, 16)):
    """Normalised latents [B, C, T, H, W] of `size`, height and width. `known` latents stand where `mask` [T] is true."""
    batch = len(text)
    x = torch.randn(batch, model.channels, frames, *size, generator=g)
    times = schedule(steps)
    mask = torch.zeros(frames, dtype=torch.bool) if mask is None else mask
    for now, after in zip(times, times[1:]):
        if known is not None:
            x[:, :, mask] = known[:, :, mask]
        sigma = torch.where(mask, torch.tensor(0.0), now)[None].expand(batch, frames)
        if guidance == 1:
            clean = model(x, sigma, text)
        else:
            both = model(torch.cat([x, x]), torch.cat([sigma, sigma]), torch.cat([text, torch.zeros_like(text)]))
            with_text, without = both.chunk(2)
            clean = without + guidance * (with_text - without)
        x = x + (x - clean) / now * (after - now)
    if known is not None:
        x[:, :, mask] = known[:, :, mask]
    return x
