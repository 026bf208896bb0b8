"""The transformer as trained and diffusers' own, with the exported weights, say the same."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("diffusers", reason="diffusers is not installed")

from train import transformer  # noqa: E402


def test_exported_weights_match_diffusers():
    from diffusers import WanTransformer3DModel

    torch.manual_seed(0)
    ours = transformer.Transformer().eval()
    with torch.no_grad():
        for parameter in ours.parameters():  # the zeros of the start would hide mistakes
            parameter.add_(0.05 * torch.randn(parameter.shape))
    theirs = WanTransformer3DModel(**ours.config).eval()
    missing = theirs.load_state_dict(transformer.diffusers_state(ours), strict=True)
    assert not missing.missing_keys and not missing.unexpected_keys

    x, text = torch.randn(2, ours.config["in_channels"], 5, 16, 16), torch.randn(2, 24, 384)
    text[:, 9:] = 0
    sigma = torch.tensor([[0.7] * 5, [0, 0.3, 0.3, 0.3, 0]])
    tokens = (sigma * 1000)[:, :, None].expand(2, 5, 16).reshape(2, 80)
    with torch.no_grad():
        a, b = ours(x, sigma, text), theirs(x, tokens, text, return_dict=False)[0]
    assert b.std() > 0.1
    assert (a - b).abs().max() < 1e-4 * max(1, b.abs().max())
