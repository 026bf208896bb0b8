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
    from train.train_transformer import Draw

    count, whole = cache_latents.CAPTIONS, cache_latents.WHOLE
    captions = torch.arange(3 * count).view(3, count, 1, 1)
    torch.manual_seed(0)
    labels, after, passed = torch.randint(3, (500,)), torch.randint(3, (500,)), torch.zeros(500)
    passed[400:] = 1  # reads what it ends as
    drawn = Draw([(torch.zeros(500, 1), labels, after, passed, torch.zeros(500, 1))], 0)
    student, teacher = (text.view(-1).long() for text in wordings(captions, drawn))
    read = torch.cat([labels[:400], after[400:]])
    assert torch.equal(student // count, read) and torch.equal(teacher // count, read)
    said = student % count < whole
    assert said.any() and not said.all() and student.unique().numel() > count
    assert (teacher[said] % count == 0).all() and torch.equal(teacher[~said], student[~said])
    drawn.passed = torch.full((500,), 0.25)
    mixed, _ = wordings(captions, drawn)
    assert ((mixed.view(-1) // count - 0.75 * labels - 0.25 * after).abs() <= 1).all()

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
def test_what_windows_go_on_from():
    from train.distil import OWN, given
    from train.train_transformer import GIVEN_NOISE, MOST_KNOWN, neighbours

    torch.manual_seed(0)
    ahead = neighbours(400, 5)
    assert set(ahead.sum(1).tolist()) == set(range(2, MOST_KNOWN + 1))
    # One end, without a gap.
    assert ((ahead[:, 1:] != ahead[:, :-1]).sum(1) == 1).all()
    assert 0.5 < ahead[:, 0].float().mean() < 0.8
    x = torch.randn(400, 2, 5, 3, 3)
    start = given(lambda noisy, level, text: torch.full_like(noisy, 9.0), x, None)
    own = (start == 9).flatten(1).all(1)
    assert abs(own.float().mean() - OWN) < 0.1
    assert (start[~own] - x[~own]).pow(2).mean().sqrt() < GIVEN_NOISE


def test_clips_of_all_sizes_and_kinds_take_turns(tmp_path):
    from train import cache_latents, data, generator
    from train.train_transformer import MOVING, PASSING, Mixture

    def path(name):
        return str(tmp_path / name)

    data.save({"mean": torch.zeros(2), "std": torch.ones(2)}, path("statistics.pt"))
    labels = torch.zeros(8, 3, dtype=torch.long)
    for width, height in generator.SIZES:
        for number, kind in enumerate(cache_latents.KINDS):
            part = {"latents": torch.full((8, 2, 5, height // 4, width // 4), float(number)), "labels": labels}
            if kind == "passing":
                part |= {"after": labels + 1, "levels": torch.tensor([[0, 0.5]] * 8)}
            data.save(part, path(cache_latents.named((width, height), kind) + "-000.pt"))
    mixture = Mixture(path)
    assert len(mixture) == 3 * 8 * len(generator.SIZES)
    torch.manual_seed(0)
    drawn = [mixture.draw(16) for _ in range(400)]
    shares = [sum(one.x.shape[3:] == (h // 4, w // 4) for one in drawn) / len(drawn) for w, h in generator.SIZES]
    assert abs(shares[0] - 0.5) < 0.08 and all(abs(share - 0.25) < 0.08 for share in shares[1:])
    passing = int(PASSING * 16)
    for one in drawn:
        assert one.moving == int(MOVING * 16) + passing and len(one.x) == len(one.labels) == len(one.known) == 16
        # What begins anywhere is told by what is given of it; what passes into another scene, by its beginning.
        kinds = one.x[:, 0, 0, 0, 0].tolist()
        assert kinds == [0] * (16 - one.moving) + [1] * (one.moving - passing) + [2] * passing
        assert (one.known[-one.moving:].sum(1) >= 2).all() and one.known[-passing:, :2].all()
        assert one.passed.tolist() == [0] * (16 - passing) + [0.5] * passing
        assert torch.equal(one.after[:-passing], one.labels[:-passing]) and (one.after != one.labels)[-passing:].all()


def test_a_model_folder_is_a_checkpoint_to_go_on_from(tmp_path):
    from filoscope_quantization import model_folder
    from train import export, restore

    folder = str(tmp_path / "restored")
    restore.main(["--folder", folder])
    state = torch.load(tmp_path / "restored" / "shipped.pt", weights_only=True)
    shipped = model_folder.load_model_folder(restore.NANO).weights
    model = transformer.Transformer(state["config"])
    model.load_state_dict(state["ema"])
    for name, value in transformer.diffusers_state(model).items():
        assert torch.equal(value, torch.from_numpy(shipped["transformer.safetensors"][name]).view(value.shape)), name
    export.main(["--folder", folder, "--name", "shipped", "--out", str(tmp_path / "out")])
    again = model_folder.load_checkpoint(tmp_path / "out").weights
    for file in ("autoencoder.safetensors", "preview.safetensors", "transformer.safetensors"):
        for name, value in shipped[file].items():
            assert (again[file][name] == value).all(), name


def test_an_average_lies_between_two_checkpoints(tmp_path):
    from safetensors.torch import load_file
    from train import export

    torch.manual_seed(0)
    models = {name: transformer.Transformer() for name in ("one", "other")}
    for name, model in models.items():
        torch.save({"ema": model.state_dict(), "config": model.config, "steps": 4}, tmp_path / f"{name}.pt")
    out = str(tmp_path / "out")
    export.main(["--folder", str(tmp_path), "--name", "one", "--average", "other", "0.25", "--out", out])
    one, other = (transformer.diffusers_state(model) for model in models.values())
    for name, value in load_file(out + "/transformer.safetensors").items():
        assert torch.allclose(value, 0.75 * one[name] + 0.25 * other[name], atol=1e-6), name
