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


def test_every_subset_of_known_frames_occurs():
    from train.train_transformer import known_frames

    torch.manual_seed(0)
    seen = {tuple(row) for row in known_frames(5000, 5).int().tolist()}
    for wanted in ((0,) * 5, (1, 0, 0, 0, 0), (0, 0, 0, 0, 1), (1, 0, 0, 0, 1), (1, 1, 0, 0, 0), (1, 1, 1, 1, 0),
                   (0, 0, 0, 1, 1), (0, 1, 1, 1, 1)):
        assert wanted in seen
    assert (1,) * 5 not in seen


def test_one_batch_can_be_learned_by_heart():
    torch.manual_seed(0)
    model = transformer.Transformer(dict(transformer.NANO, num_layers=2))
    channels = model.config["in_channels"]
    x, text, sigma = torch.randn(2, channels, 3, 8, 8), torch.randn(2, 24, 384), torch.tensor([[0.8] * 3, [0.3] * 3])
    level = sigma[:, None, :, None, None]
    noisy = (1 - level) * x + level * torch.randn_like(x)
    optimizer, losses = torch.optim.AdamW(model.parameters(), 2e-3), []
    for _ in range(60):
        loss = (model(noisy, sigma, text) - x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@torch.no_grad()
def test_the_students_goal_lies_where_the_teacher_arrives():
    from train.distil import target

    torch.manual_seed(0)
    x, goal = torch.randn(2, 4, 3, 2, 2), torch.randn(2, 4, 3, 2, 2)
    known = torch.tensor([[True, False, False]] * 2)
    now, after = torch.tensor([1.0, 0.5]), torch.tensor([0.7, 0.0])

    # A teacher that is sure of its goal: two of its steps are one.
    sure = target(lambda *_: goal, x, torch.zeros(2, 1, 1), now, after, known, 1)
    assert torch.allclose(sure[:, :, 1:], goal[:, :, 1:], atol=1e-4)

    # One that changes its mind after the first step: the goal lies between, by how far each step goes.
    answers = [goal, -goal]
    torn = target(lambda *_: answers.pop(0), x, torch.zeros(2, 1, 1), now, after, known, 1)
    middle = (now + after) / 2
    y = goal + (x - goal) * (middle / now).view(-1, 1, 1, 1, 1)
    y = -goal + (y + goal) * (after / middle).view(-1, 1, 1, 1, 1)
    part = (after / now).view(-1, 1, 1, 1, 1)
    assert torch.allclose(torn[:, :, 1:], ((y - part * x) / (1 - part))[:, :, 1:], atol=1e-4)


def test_the_teacher_reads_the_plainest_wording_unless_something_is_unsaid():
    from train import cache_latents
    from train.distil import moments, wordings

    count, whole = cache_latents.CAPTIONS, cache_latents.WHOLE
    captions = torch.arange(3 * count).view(3, count, 1, 1)
    torch.manual_seed(0)
    labels = torch.randint(3, (500,))
    student, teacher = (text.view(-1).long() for text in wordings(captions, labels))
    assert torch.equal(student // count, labels) and torch.equal(teacher // count, labels)
    said = student % count < whole
    assert said.any() and not said.all() and student.unique().numel() > count
    assert (teacher[said] % count == 0).all() and torch.equal(teacher[~said], student[~said])

    now, after = moments(500, 4)
    assert (now > after).all() and now.max() == 1 and after.min() == 0
    assert 5 < now.unique().numel() <= 4 + 12


@torch.no_grad()
def test_reading_once_for_all_padding_is_reading_all_of_it():
    """What teaching wordings compares is what the blocks' attention to the text gives."""
    from train.wording import read

    torch.manual_seed(3)
    model = transformer.Transformer().eval()
    text = torch.zeros(2, 24, 384)
    text[0, :9], text[1, :17] = torch.randn(9, 384), torch.randn(17, 384)
    queries = torch.randn(len(model.blocks), 5, model.width)
    whole, short = read(model, text, queries), read(model, text[:, :18], queries)
    assert torch.allclose(whole, short, atol=1e-5)
    block = model.blocks[2]
    k, v = block.text_kv(model.text_2(torch.nn.functional.gelu(model.text_1(text), approximate="tanh"))).chunk(2, -1)
    wanted = block._attend(queries[2][None].expand(2, -1, -1), block._heads(block.text_norm_k(k)), block._heads(v))
    assert torch.allclose(whole[2], wanted, atol=1e-5) and whole[2].std() > 1e-3


@torch.no_grad()
def test_what_lengthening_goes_on_from():
    from train.lengthen import LEAST, MOST, OWN, given, neighbours

    torch.manual_seed(0)
    ahead = neighbours(400, 5)
    assert set(ahead.sum(1).tolist()) == set(range(LEAST, MOST + 1))
    # One end, without a gap.
    assert ((ahead[:, 1:] != ahead[:, :-1]).sum(1) == 1).all()
    assert 0.5 < ahead[:, 0].float().mean() < 0.8
    x = torch.randn(400, 2, 5, 3, 3)
    start = given(lambda noisy, level, text: torch.full_like(noisy, 9.0), x, None)
    own = (start == 9).flatten(1).all(1)
    assert abs(own.float().mean() - OWN) < 0.1
    assert (start[~own] - x[~own]).pow(2).mean().sqrt() < 0.2


def test_seams_are_told_in_units_of_the_clips_own_change():
    from train.coherence import drift, seam

    steady = torch.linspace(0, 1, 30).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    assert seam(steady, [17]) == pytest.approx(1, rel=1e-3)
    jumping = torch.cat([steady[:17] * 0, steady[17:] * 0 + 1])
    assert seam(jumping, [17]) == pytest.approx(29) and seam(jumping, [16]) == 0
    assert drift(jumping) == pytest.approx(0, abs=1e-3) and drift(steady * 0) > 90
