"""Self-attention, preparation of the keys included, beside PyTorch's float32 scaled_dot_product_attention."""

from statistics import median

from common import ROUNDS, ours, seconds_of

SHAPES = [(4000, 1, 128), (800, 12, 128), (320, 3, 64), (80, 3, 64)]


def compare(bench):
    import torch

    torch.set_num_threads(1)
    for tokens, heads, head in SHAPES:
        q, k, v = (torch.randn(1, heads, tokens, head) for _ in range(3))
        operations = 4 * tokens * tokens * heads * head
        mine, percent, theirs, ratios = [], [], [], []
        for _ in range(ROUNDS):
            line = ours(bench, "attention", "--only-int8", "--tokens", tokens, "--heads", heads, "--head", head)[0]
            mine.append(line["gops"])
            percent.append(line["percent_of_peak"])
            taken = seconds_of(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v))
            theirs.append(operations / taken / 1e9)
            ratios.append(mine[-1] / theirs[-1])
        print(f"attention {tokens} x {tokens}, {heads} x {head}: ours {median(mine):.0f} GOPS, {median(percent):.0f} % "
              "of the int8 peak")
        print(f"    {median(theirs):6.0f} GOPS  ours is {median(ratios):.2f} x  PyTorch {torch.__version__}, float32",
              flush=True)
