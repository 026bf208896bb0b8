"""Teach a trained transformer other wordings without showing it a clip: minutes instead of hours.

What a prompt does to a picture is what the cross-attentions read from it. Queries are kept from real noisy clips; then
only the layers that read text learn, until any wording gives those queries what the plainest one gave before. Prompts
that leave something unsaid, and none, keep what they gave.
"""

import copy
import math

import torch
import torch.nn.functional as F

from . import cache_latents, data
from .train_transformer import Clips, known_frames, times
from .transformer import Transformer

TOKENS = 18  # enough for most captions; the rest of 24 is padding, all alike
QUERIES, CLIPS = 32, 192
NOISE = 0.1  # on MiniLM's states, so that words nearby mean the same


def readers(model):
    """The parameters that see nothing but text."""
    layers = [model.text_1, model.text_2] + [layer for block in model.blocks for layer in (block.text_kv, block.text_norm_k)]
    return [p for layer in layers for p in layer.parameters()]


def read(model, text, queries):
    """What each block's `queries` [blocks, count, width] get from `text` [batch, tokens, text_dim]: [blocks, batch, count, width].

    The last token stands for all the padding up to 24, so it must be padding where tokens were cut off.
    """
    batch, tokens, _ = text.shape
    text = model.text_2(F.gelu(model.text_1(text), approximate="tanh"))
    bias = torch.zeros(tokens)
    bias[-1] = math.log(max(1, 24 - tokens + 1))
    result = []
    for block, q in zip(model.blocks, queries):
        k, v = block.text_kv(text).chunk(2, -1)
        q = block._heads(q[None]).expand(batch, -1, -1, -1)
        y = F.scaled_dot_product_attention(q, block._heads(block.text_norm_k(k)), block._heads(v), attn_mask=bias[None])
        result.append(y.transpose(1, 2).flatten(2))
    return torch.stack(result)


@torch.no_grad()
def query_bank(model, clips, captions):
    """Queries of every block from noisy clips: [blocks, count, width]."""
    kept = [[] for _ in model.blocks]
    hooks = [block.text_norm_q.register_forward_hook(lambda _, __, q, i=i: kept[i].append(q.flatten(0, 1)))
             for i, block in enumerate(model.blocks)]
    for some in torch.randperm(len(clips.latents))[:CLIPS].split(16):
        x = clips.latents[some].float()
        known = known_frames(len(x), x.shape[2])
        sigma = times(len(x))[:, None].expand(-1, x.shape[2]).masked_fill(known, 0)
        level = sigma[:, None, :, None, None]
        model((1 - level) * x + level * torch.randn_like(x), sigma, captions[clips.labels[some], 0].float())
    for hook in hooks:
        hook.remove()
    return torch.stack([torch.cat(some) for some in kept])


def main():
    parser = data.arguments(__doc__, minutes=6)
    parser.add_argument("--name", default="distilled", help="which checkpoint")
    parser.add_argument("--out", help="its name afterwards (default: the same)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()
    path = data.start(options)
    state = data.load(path(options.name + ".pt"))
    before = Transformer(state["config"]).eval()
    before.load_state_dict(state["ema"])
    model = copy.deepcopy(before)
    for p in model.parameters():
        p.requires_grad_(False)
    learned = readers(model)
    for p in learned:
        p.requires_grad_(True)
    captions = data.load(path("captions.pt"))["states"]
    bank = query_bank(before, Clips(path), captions)
    short = captions[:, :, TOKENS - 1:].abs().amax((2, 3)) == 0  # nothing is cut off
    rows = short.nonzero()
    plain = cache_latents.plainest(rows[:, 1])
    with torch.no_grad():
        some = captions[torch.arange(0, len(captions), 7), 0, :TOKENS].float()
        spread = read(before, some, bank[:, :64]).std(1).mean(1)[:, None, None]  # [blocks, 1, 1, width]: between prompts
    optimizer = torch.optim.AdamW(learned, options.rate, weight_decay=0.01, betas=(0.9, 0.97))
    progress, average, count = data.Progress(options.minutes), None, 0
    none = torch.zeros(1, TOKENS, captions.shape[-1])
    while progress.part < 1:
        for group in optimizer.param_groups:
            group["lr"] = options.rate * min(1, (count + 1) / 20) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress.part)))
        some = torch.randint(len(rows), (options.batch,))
        text = captions[rows[some, 0], rows[some, 1], :TOKENS].float()
        goal = captions[rows[some, 0], plain[some], :TOKENS].float()
        noise = NOISE * text.std() * torch.randn_like(text) * (text != 0)
        queries = bank[:, torch.randint(bank.shape[1], (QUERIES,))]
        with torch.no_grad():
            wanted = read(before, torch.cat([goal, none]), queries)
        got = read(model, torch.cat([text + noise, none]), queries)
        loss = ((got - wanted) / (spread + 0.1 * spread.mean())).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        count += 1
        average = loss.item() if average is None else 0.95 * average + 0.05 * loss.item()
        progress.add(options.batch, loss=average, count=count)
    for key in ("model", "ema"):
        state[key] = model.state_dict()
    data.save(state, path((options.out or options.name) + ".pt"))
    print(f"{progress.clips} captions, {count} steps, loss {average:.4f}")


if __name__ == "__main__":
    main()
