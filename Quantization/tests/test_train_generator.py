"""The clip generator gives the same clips for the same seed, and moves things the way it says."""

import random

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from train import generator  # noqa: E402


def _world():
    sprites = torch.ones(2, 4, 16, 16)
    sprites[:, 1:3] = 0  # opaque red squares
    return generator.Generator(sprites, height=32, width=32)


def test_same_seed_same_clips():
    world = _world()
    clips = []
    for _ in range(2):
        g = torch.Generator().manual_seed(5)
        clips.append(world.render(world.labels(4, g), g))
    assert torch.equal(clips[0], clips[1])
    assert clips[0].shape == (4, 17, 3, 32, 32)
    assert 0 <= clips[0].min() and clips[0].max() <= 1


def test_motions_go_the_way_they_are_called():
    world = _world()
    white = generator.PLACE_NAMES.index("white")
    across = torch.linspace(-1, 1, 32)
    for name, axis, sign in (("right", 3, 1), ("left", 3, -1), ("up", 2, -1)):
        labels = torch.tensor([[0, generator.MOTION_NAMES.index(name), white]])
        clip = world.render(labels, torch.Generator().manual_seed(1))[0]
        red = (clip[:, 1] < 0.5).float()  # [time, height, width]
        place = (red.sum(1) if axis == 3 else red.sum(2)) @ across / red.sum((1, 2))
        assert sign * (place[-1] - place[0]) > 0.3, name


def test_captions_are_deterministic_and_name_the_subject():
    a, b, named = random.Random(3), random.Random(3), 0
    for _ in range(200):
        text = generator.caption("automobile", "spin", "night", a)
        assert text == generator.caption("automobile", "spin", "night", b)
        named += any(name in text for name in generator.SUBJECTS["automobile"][0])
    assert named > 180  # the others have a typing error there


def test_whole_captions_say_everything_and_others_leave_one_thing_unsaid(monkeypatch):
    monkeypatch.setattr(generator, "misspelt", lambda text, rng: text)
    rng = random.Random(4)
    for _ in range(300):
        subject, motion, place = (rng.choice(names) for names in (
            generator.NAMES, generator.MOTION_NAMES, generator.PLACE_NAMES))
        for whole in (True, False):
            text = generator.caption(subject, motion, place, rng, whole=whole)
            says = [any(words in text for words in some[name]) for some, name in (
                (generator.MOTIONS, motion), (generator.PLACES, place))]
            assert all(says) == whole and any(says), text
        assert generator.plain(subject, motion, place).endswith(generator.PLACES[place][0])


def test_a_clip_may_begin_anywhere_in_its_motion():
    world = _world()
    count = len(generator.MOTION_NAMES)
    labels = torch.stack([torch.zeros(count, dtype=torch.long), torch.arange(count), torch.zeros(count, dtype=torch.long)], 1)

    def clip(phase):
        return world.render(labels, torch.Generator().manual_seed(3), phase=None if phase is None else torch.full((count,), phase))

    plain, long = clip(None), torch.cat([clip(float(start))[:, :16] for start in range(6)], 1)
    # But for what sticks out of the picture, and is seen on its other side then.
    for begun, wanted in ((clip(0.0), plain), (clip(0.5)[:, 0], plain[:, 8])):
        assert torch.allclose(begun[..., 8:-8, 8:-8], wanted[..., 8:-8, 8:-8], atol=1e-4)
    # In six lengths of a clip everything comes back, and nothing ever jumps.
    steps = (long[:, 1:] - long[:, :-1]).abs().mean((2, 3, 4))
    usual = (plain[:, 1:] - plain[:, :-1]).abs().mean((1, 2, 3, 4))
    assert (steps.amax(1) < 3 * usual).all(), steps.amax(1) / usual
    seen = (long - world.places[0, 0]).abs().amax((2, 3, 4)) > 0.1
    assert seen.all()
    grown = (long[generator.MOTION_NAMES.index("grow")] - long[generator.MOTION_NAMES.index("grow"), 0]).abs().mean((1, 2, 3))
    assert grown[32] < 0.2 * grown[16]  # as small again as it began


def test_the_wordings_kept_for_evaluation_share_no_content_word_with_training():
    # What says the direction, and what every motion may have around it.
    common = set("to the right left up and down in side".split())
    trained = {word for wordings in generator.MOTIONS.values() for text in wordings for word in text.split()}
    rng = random.Random(8)
    for _ in range(3000):
        subject, motion, place = (rng.choice(names) for names in (
            generator.NAMES, generator.MOTION_NAMES, generator.PLACE_NAMES))
        text = generator._sentence(subject, motion, place, rng, generator.MOTIONS, rng.random())
        trained |= set(text.replace(",", " ").replace(":", " ").split())
    stems = {word[:4] for word in trained} - {"righ", "left"}
    for motion, wordings in generator.UNSEEN_MOTIONS.items():
        for text in wordings:
            words = set(text.split()) - common
            assert words and not words & trained and not {word[:4] for word in words} & stems, (motion, text)


def test_no_wording_means_two_motions():
    wordings = [text for some in generator.MOTIONS.values() for text in some]
    assert len(set(wordings)) == len(wordings)


def test_a_typing_error_changes_one_longer_word():
    rng = random.Random(0)
    for _ in range(200):
        before, after = "a penguin moving to the right", generator.misspelt("a penguin moving to the right", rng)
        changed = [(a, b) for a, b in zip(before.split(), after.split(), strict=True) if a != b]
        assert len(changed) <= 1 and all(len(a) > 5 and a[0] == b[0] for a, b in changed)
        assert all(sorted(a) == sorted(b) or len(a) == len(b) + 1 for a, b in changed)
    assert generator.misspelt("a fox at sea", rng) == "a fox at sea"


def test_some_of_everything_is_held_out():
    labels = torch.cartesian_prod(*(torch.arange(len(names)) for names in (
        generator.NAMES, generator.MOTION_NAMES, generator.PLACE_NAMES)))
    kept = generator.held_out(labels)
    assert 0.04 < kept.float().mean() < 0.09
    for column, names in enumerate((generator.NAMES, generator.MOTION_NAMES, generator.PLACE_NAMES)):
        assert set(labels[kept][:, column].tolist()) == set(labels[~kept][:, column].tolist()) == set(range(len(names)))
    world = generator.Generator(torch.ones(len(generator.NAMES), 4, 16, 16), height=32, width=32)
    assert not generator.held_out(world.trained_labels(500, torch.Generator().manual_seed(0))).any()


def test_the_tracks_of_motions_differ_and_stillness_does_not_flicker():
    from train import measures

    world = _world()
    white = generator.PLACE_NAMES.index("white")

    def clips(name, seed):
        labels = torch.tensor([[0, generator.MOTION_NAMES.index(name), white]] * 4)
        return world.render(labels, torch.Generator().manual_seed(seed))

    same = measures.track_error(clips("right", 1), clips("right", 2))
    other = measures.track_error(clips("right", 1), clips("left", 2))
    assert (other > 3 * same).all()
    still = clips("right", 1)[:, :1].expand(-1, 17, -1, -1, -1)
    assert (measures.flicker(still) < 1e-6).all()
    shaken = still + 0.1 * (torch.arange(17) % 2).view(1, -1, 1, 1, 1)
    assert (measures.flicker(shaken) > 0.3).all()


def test_strangers_are_in_no_training_clip():
    assert len(generator.STRANGERS) == len(generator.NAMES)
    assert not set(generator.STRANGERS) & set(generator.SUBJECTS)
    spoken = {word for names, _ in generator.SUBJECTS.values() for name in names for word in name.split()}
    assert not spoken & {word for name in generator.STRANGERS for word in name.split()} - {"small"}


def test_scenes_fade_into_another_that_moves_alike():
    world = generator.Generator(torch.rand(len(generator.NAMES), 4, 16, 16), spread=0.35, variants=2)
    g = torch.Generator().manual_seed(4)
    labels = world.trained_labels(64, g)
    after = world.labels_after(labels, g)
    assert not generator.held_out(after).any() and (after != labels).any(1).all() and torch.equal(after[:, 1], labels[:, 1])
    assert (after[:, 0] != labels[:, 0]).any() and (after[:, 2] != labels[:, 2]).any()
    levels, phase = torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([0.3, 2.7])
    state = g.get_state()
    clips = world.pass_over(labels[:2], after[:2], levels, g, phase)
    ends = []
    for scene in (labels, after):
        g.set_state(state)
        ends.append(world.render(scene[:2], g, phase=phase))
    assert torch.equal(clips[0, :generator.GIVEN], ends[0][0, :generator.GIVEN]), "what is given is of the first scene"
    assert torch.allclose(clips[0, -1], ends[1][0, -1], atol=1e-6)
    assert torch.allclose(clips[1], (ends[0][1] + ends[1][1]) / 2, atol=1e-6)
