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


@torch.no_grad()
def test_the_linear_beginning_is_as_good_as_principal_components():
    torch.manual_seed(0)
    # Smooth pictures that move: few components hold most of them.
    noise = torch.rand(12, 3, 10, 10)
    large = torch.nn.functional.interpolate(noise, size=(44, 44), mode="bicubic", align_corners=True).clamp(0, 1)
    clips = torch.stack([large[:, :, :32, shift:shift + 32] for shift in range(9)], 1)
    model = Autoencoder().eval()
    model.initialise_linear(clips[:10])
    test = clips[10:]
    frames = torch.cat([test[:, :1]] * 3 + [test], 1)

    def blocks(x):
        patches = torch.nn.functional.pixel_unshuffle(x.flatten(0, 1), 4)
        return patches.view(len(x), -1, 192, 8, 8).permute(0, 1, 3, 4, 2).reshape(-1, 192)

    train = blocks(torch.cat([clips[:10, :1]] * 3 + [clips[:10]], 1))
    mean = train.mean(0)
    basis = torch.linalg.eigh((train - mean).T @ (train - mean))[1].flip(1)[:, :model.config["latent_channels"]]
    original = blocks(frames)
    components = ((original - mean) @ basis @ basis.T + mean - original).pow(2).mean()
    coded = (model.decode(model.encode(test)) - test).pow(2).mean()
    assert coded < 3 * components + 1e-4
    assert coded < 0.02 * (test - test.mean()).pow(2).mean()
