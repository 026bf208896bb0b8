"""Frame by frame and all at once, the autoencoder gives the same; latent 0 sees frame 0 only."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from train.autoencoder import Autoencoder  # noqa: E402


@torch.no_grad()
def test_streaming_matches_whole():
    torch.manual_seed(0)
    model = Autoencoder().eval()
    frames = torch.rand(1, 9, 3, 32, 32)
    latents = model.encode(frames)
    assert latents.shape == (1, 3, model.config["latent_channels"], 8, 8)
    assert torch.allclose(latents, model.encode_streaming(frames), atol=1e-5)
    video = model.decode(latents)
    assert video.shape == frames.shape
    assert torch.allclose(video, model.decode_streaming(latents), atol=1e-5)


@torch.no_grad()
def test_first_latent_depends_on_first_frame_alone():
    torch.manual_seed(0)
    model = Autoencoder().eval()
    frames = torch.rand(1, 9, 3, 32, 32)
    other = frames.clone()
    other[:, 1:] = torch.rand(1, 8, 3, 32, 32)
    assert torch.equal(model.encode(frames)[:, 0], model.encode(other)[:, 0])
