"""Captioned clips, rendered: a sprite, a motion, a procedural place.

Everything is drawn from the `torch.Generator` it is given: the same seed gives the same clips.
Clips are [batch, time, 3, height, width] in 0..1.
"""

import math

import torch
import torch.nn.functional as F

# Name in CLDR -> (what captions call it; the way the glyph faces: -1 left, 1 right, 0 no matter)
SUBJECTS = {
    "dog": (["dog", "puppy", "hound", "little dog"], -1),
    "cat": (["cat", "kitten", "kitty", "house cat"], -1),
    "penguin": (["penguin", "small penguin"], -1),
    "frog": (["frog", "toad", "green frog"], 0),
    "butterfly": (["butterfly", "monarch butterfly", "orange butterfly"], 0),
    "whale": (["whale", "blue whale", "sperm whale"], -1),
    "red apple": (["red apple", "apple", "ripe apple"], 0),
    "banana": (["banana", "yellow banana"], 0),
    "rocket": (["rocket", "spaceship", "space rocket", "spacecraft"], 1),
    "sailboat": (["sailboat", "sailing boat", "boat", "sailing ship", "yacht"], 0),
    "soccer ball": (["soccer ball", "ball", "football"], 0),
    "automobile": (["car", "automobile", "red car", "motor car"], -1),
    "turtle": (["turtle", "tortoise", "green turtle"], -1),
    "helicopter": (["helicopter", "yellow helicopter", "chopper"], -1),
    "tropical fish": (["fish", "tropical fish", "goldfish"], -1),
    "sunflower": (["sunflower", "flower", "yellow flower"], 0),
}
# The plainest wordings first: clients offer the first.
MOTIONS = {
    "right": ["moving right", "moving to the right", "drifting from left to right", "travelling to the right",
              "going right", "going to the right", "crossing from left to right", "flying to the right",
              "gliding right", "running to the right", "on its way to the right", "passing from left to right",
              "moving towards the right edge", "swimming to the right",
              "sailing to the right", "rolling to the right", "walking right", "racing to the right", "creeping right",
              "pushed to the right", "moves to the right", "goes right", "from left to right"],
    "left": ["moving left", "moving to the left", "drifting from right to left", "travelling to the left",
             "going left", "going to the left", "crossing from right to left", "flying to the left",
             "gliding left", "running to the left", "on its way to the left", "passing from right to left",
             "moving towards the left edge", "swimming to the left",
             "sailing to the left", "rolling to the left", "walking left", "racing to the left", "creeping left",
             "pushed to the left", "moves to the left", "goes left", "from right to left"],
    "up": ["rising up", "moving up", "floating upwards", "flying up", "going up", "climbing up", "soaring upward",
           "taking off", "rising into the air", "drifting to the top", "going straight up", "rising", "climbing",
           "launching upwards", "elevating", "levitating", "soaring", "being raised", "rises", "flies up",
           "shooting up into the air", "climbing to the top", "gaining altitude"],
    "bounce": ["bouncing", "bouncing up and down", "jumping", "hopping", "jumping up and down", "hopping up and down",
               "springing up and down", "skipping", "going up and down", "jumping again and again", "hopping about",
               "bouncing like a rubber ball", "jumping for joy", "moving up and down", "bounding", "jumps", "hops",
               "dancing up and down", "on a trampoline", "vaulting", "dribbling", "bouncy"],
    "spin": ["spinning", "spinning around", "rotating", "turning round and round", "revolving", "turning in circles",
             "going round and round", "rolling around", "turning like a wheel", "doing a pirouette", "tumbling",
             "spinning like a top", "rotating about its middle", "turning somersaults", "swirling", "swivelling", "gyrating",
             "twisting around", "turns around", "rotates", "in a spin", "cartwheeling", "orbiting itself"],
    "grow": ["growing", "growing bigger", "coming closer", "getting larger", "getting bigger and bigger",
             "approaching", "coming towards us", "swelling", "expanding", "inflating", "drawing near", "growing large",
             "increasing in size", "coming nearer and nearer", "enlarging", "getting enormous", "scaling up",
             "grows", "gets bigger", "turning into a giant", "moving closer to the camera", "closing in", "magnified"],
}
PLACES = {
    "sky": ["in the sky", "in a blue sky", "among the clouds", "up in the clouds", "under a clear sky", "in front of clouds"],
    "grass": ["on the grass", "on a green meadow", "in a field", "in a green field", "on the lawn", "in a park"],
    "night": ["at night", "in a starry night", "at night under the stars", "under the stars", "in the dark", "at midnight"],
    "ocean": ["over the ocean", "by the sea", "on the water", "at sea", "on the ocean", "above the waves"],
    "sunset": ["at sunset", "in front of a sunset", "in the evening sun", "at dusk", "while the sun sets", "in the evening"],
    "snow": ["in the snow", "on a snowy field", "in winter", "on snow", "in a snowy landscape", "on a cold winter day"],
    "desert": ["in the desert", "on sand dunes", "in a sandy desert", "in the sand", "among the dunes", "in a hot desert"],
    "white": ["on a white background", "against a plain white background", "on white", "before a white wall", "on a blank white page"],
}
# Wordings of motions that training never sees, for evaluation.
UNSEEN_MOTIONS = {
    "right": ["heading rightwards", "sliding to the right side"],
    "left": ["heading leftwards", "sliding to the left side"],
    "up": ["ascending", "lifting up higher"],
    "bounce": ["leaping up and down", "bobbing up and down"],
    "spin": ["twirling", "whirling in place"],
    "grow": ["becoming huge", "zooming in"],
}
NAMES, MOTION_NAMES, PLACE_NAMES = list(SUBJECTS), list(MOTIONS), list(PLACES)
VARIANTS = 8
# One combination in sixteen is never trained on: evaluation asks for it.
HELD_OUT = 16


def held_out(labels):
    """Which rows of [count, 3] are combinations that training leaves out: every subject, motion and place has some."""
    subject, motion, place = labels.unbind(-1)
    return (subject + 5 * motion + 3 * place) % HELD_OUT == 0


def _article(name):
    return "an" if name[0] in "aeiou" else "a"


def misspelt(text, rng):
    """With two neighbouring letters inside of a longer word swapped, or one of them left out."""
    words = text.split()
    long = [i for i, word in enumerate(words) if len(word) > 5]
    if long:
        i = rng.choice(long)
        at = rng.randrange(1, len(words[i]) - 2)
        swapped = words[i][at + 1] + words[i][at] if rng.random() < 0.5 else words[i][at]
        words[i] = words[i][:at] + swapped + words[i][at + 2:]
    return " ".join(words)


def plain(subject, motion, place):
    """The plainest caption, which every network trained here has learned first."""
    name = SUBJECTS[subject][0][0]
    return f"{_article(name)} {name} {MOTIONS[motion][0]} {PLACES[place][0]}"


def caption(subject, motion, place, rng, motions=MOTIONS, whole=None):
    """One English caption; `rng` is a random.Random. One in eight has a typing error.

    `whole` says whether it must name subject, motion and place (True) or leave the motion or the place unsaid
    (False); otherwise about one in ten does.
    """
    kind = rng.random()
    if whole is not None:
        kind = WHOLE * kind if whole else WHOLE + (1 - WHOLE) * kind
    text = _sentence(subject, motion, place, rng, motions, kind)
    return misspelt(text, rng) if rng.random() < 1 / 8 else text


# The part of all captions that names subject, motion and place.
WHOLE = 0.92


def _sentence(subject, motion, place, rng, motions, kind):
    name = rng.choice(SUBJECTS[subject][0])
    doing, where = rng.choice(motions[motion]), rng.choice(PLACES[place])
    a = rng.choice([_article(name)] * 4 + ["the", "one", "my"])
    if kind < 0.35:
        return f"{a} {name} {doing} {where}"
    if kind < 0.45:
        return f"{a} {name} is {doing} {where}"
    if kind < 0.55:
        return f"{where}, {a} {name} is {doing}"
    if kind < 0.63:
        return f"{name} {doing} {where}"
    if kind < 0.70:
        return f"{a} {name} {where}, {doing}"
    if kind < 0.75:
        return f"{doing}: {a} {name} {where}"
    if kind < 0.80:
        return f"{name}, {doing}, {where}"
    if kind < 0.84:
        return f"{where} there is {a} {name} {doing}"
    if kind < 0.88:
        return f"show me {a} {name} that is {doing} {where}"
    if kind < WHOLE:
        return f"{rng.choice(['a video of', 'a cartoon of', 'an animation:'])} {a} {name} {doing} {where}"
    if kind < 0.96:
        return f"{a} {name} {doing}"
    return f"{a} {name} {where}"


def _mix(top, bottom, t):
    return torch.tensor(top)[:, None, None] * (1 - t) + torch.tensor(bottom)[:, None, None] * t


def _place(name, height, width, g):
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    # What is round in a square stays round: distances are in lengths of the shorter side.
    tall, wide = height / min(height, width), width / min(height, width)
    j = (torch.rand(4, generator=g) * 2 - 1).tolist()
    hill = 0.62 + 0.08 * j[0] + 0.05 * torch.sin(x * (4 + 2 * j[1]) + 3 * j[2])
    ground = torch.sigmoid((y - hill) * 60)[None]
    if name == "sky":
        picture = _mix([0.3, 0.6, 0.95], [0.75, 0.9, 1.0], y)
        for _ in range(3):
            cx, cy = torch.rand(2, generator=g).tolist()
            cloud = torch.exp(-(wide * (x - cx) / 0.16) ** 2 - (tall * (y - cy) / 0.07) ** 2) * 0.8
            picture = picture * (1 - cloud) + cloud
    elif name == "grass":
        picture = (_mix([0.55, 0.8, 1.0], [0.85, 0.95, 1.0], y) * (1 - ground)
                   + _mix([0.35, 0.75, 0.25], [0.15, 0.5, 0.1], y) * ground)
    elif name == "night":
        picture = _mix([0.02, 0.02, 0.12], [0.1, 0.1, 0.3], y)
        for _ in range(18):
            cx, cy, light = torch.rand(3, generator=g).tolist()
            picture = picture + (0.4 + 0.6 * light) * torch.exp(-((wide * (x - cx)) ** 2 + (tall * (y - cy)) ** 2) * 2600)[None]
    elif name == "ocean":
        picture = (_mix([0.6, 0.85, 1.0], [0.9, 0.97, 1.0], y) * (1 - ground)
                   + _mix([0.1, 0.5, 0.75], [0.0, 0.2, 0.5], y) * ground
                   + 0.06 * torch.sin(y * 60 + 6 * x)[None] * ground)
    elif name == "sunset":
        picture = _mix([0.35, 0.15, 0.45], [1.0, 0.55, 0.2], y)
        sun = torch.exp(-((wide * (x - 0.5 - 0.3 * j[1])) ** 2 + (tall * (y - 0.65)) ** 2) * 60)[None]
        picture = picture + sun * torch.tensor([0.5, 0.45, 0.1])[:, None, None]
    elif name == "snow":
        picture = (_mix([0.62, 0.72, 0.85], [0.8, 0.87, 0.95], y) * (1 - ground)
                   + _mix([0.97, 0.98, 1.0], [0.84, 0.9, 0.98], y) * ground)
        for _ in range(14):
            cx, cy = torch.rand(2, generator=g).tolist()
            picture = picture + 0.5 * torch.exp(-((wide * (x - cx)) ** 2 + (tall * (y - cy)) ** 2) * 1800)[None]
    elif name == "desert":
        dune = torch.sigmoid((y - 0.78 - 0.05 * torch.sin(x * (5 + j[3]) + 2 + 3 * j[0])) * 60)[None]
        picture = (_mix([0.55, 0.78, 0.95], [0.98, 0.93, 0.8], y) * (1 - ground)
                   + _mix([0.95, 0.8, 0.5], [0.85, 0.62, 0.32], y) * ground)
        picture = picture * (1 - 0.15 * dune)
    else:
        picture = _mix([0.97 + 0.02 * j[0]] * 3, [0.9 + 0.02 * j[1]] * 3, y)
    return picture.clamp(0, 1)


def _wrapped(x):
    """Into -1..1, coming back on the other side."""
    return (x + 1) % 2 - 1


class Generator:
    def __init__(self, sprites, height=64, width=64, frames=17, faces=None, spread=1.0, variants=VARIANTS):
        """`sprites` as from sprites.load; `faces` turns each the way it moves.

        `spread` scales how much places, sizes and distances differ from clip to clip; `variants` is how
        many pictures of each place are used. Little of both is learned soon, much of both takes long.
        """
        self.spread, self.variants = spread, variants
        self.sprites = sprites
        self.faces = torch.zeros(len(sprites)) if faces is None else torch.tensor(faces, dtype=torch.float32)
        self.height, self.width, self.frames = height, width, frames
        g = torch.Generator().manual_seed(0)
        self.places = torch.stack([torch.stack([_place(name, height, width, g) for _ in range(VARIANTS)])
                                   for name in PLACE_NAMES])

    def labels(self, count, g):
        """Random subject, motion and place numbers [count, 3]."""
        sizes = (len(self.sprites), len(MOTION_NAMES), len(PLACE_NAMES))
        return torch.stack([torch.randint(size, (count,), generator=g) for size in sizes], 1)

    def trained_labels(self, count, g):
        """The same without the combinations kept for evaluation."""
        labels = self.labels(2 * count, g)
        return labels[~held_out(labels)][:count]

    def labels_after(self, labels, g):
        """What the same motion may go on with: mostly in another place, or as another subject, or both; never what is held out."""
        after, left = labels.clone(), torch.ones(len(labels), dtype=torch.bool)
        while left.any():
            other = self.labels(len(labels), g)
            which = torch.rand(len(labels), generator=g)
            subject, place = which > 0.6, which < 0.8
            made = torch.stack([torch.where(subject, other[:, 0], labels[:, 0]), labels[:, 1],
                                torch.where(place, other[:, 2], labels[:, 2])], 1)
            after[left] = made[left]
            left = held_out(after) | (after == labels).all(1)
        return after

    def pass_over(self, labels, after, levels, g, phase):
        """Clips that fade from one scene into another that moves alike. `levels` [batch, 2] is how far they are at their beginning,
        which holds for what a window is given at least, and at their end."""
        state = g.get_state()
        before = self.render(labels, g, phase=phase)
        g.set_state(state)
        way = ((torch.arange(self.frames) - GIVEN + 1) / (self.frames - GIVEN)).clamp(0, 1)
        level = levels[:, :1] + (levels[:, 1:] - levels[:, :1]) * way
        return torch.lerp(before, self.render(after, g, phase=phase), level[:, :, None, None, None])

    def render(self, labels, g, random_facing=False, phase=None):
        """`phase` [batch] is how much of its motion a subject has behind it at the first frame, in lengths of a clip.

        Beyond a clip's length what leaves the picture comes back on the other side, so that there always is something of it to be
        seen, and what has grown shrinks again.
        """
        batch, T, H, W = len(labels), self.frames, self.height, self.width
        subject, motion, place = labels.unbind(1)

        def draw(low, high):
            return (low + high) / 2 + self.spread * (high - low) * (torch.rand(batch, 1, generator=g) - 0.5)

        def does(name):
            return (motion == MOTION_NAMES.index(name))[:, None].float()

        t = torch.linspace(0, 1, T)[None]
        if phase is not None:
            t = t + phase[:, None]
        right, left, up, bounce, spin, grow = (does(name) for name in MOTION_NAMES)
        start_x, start_y, size, far = draw(-0.25, 0.25), draw(-0.1, 0.3), draw(0.42, 0.58), draw(0.8, 1.0)
        travelled, grown = (2 * t - 1) * far * 0.6, t
        if phase is not None:
            grown = 1 - ((t % 2) - 1).abs()
        x = start_x * (1 - right - left - 0.6 * grow - 0.6 * spin) + (right - left) * travelled
        y = (start_y * (1 - up - 0.7 * grow - 0.6 * spin - bounce) - up * travelled
             + bounce * (0.35 - 0.6 * torch.sin(2 * math.pi * t).abs()))
        size = size * (1 + grow * (1.15 * grown - 0.5))
        angle = spin * 2 * math.pi * 0.9 * t
        # Turn the sprite the way it moves (or at random, for a judge that must not read the facing).
        facing = self.faces[subject][:, None]
        mirror = 1 - 2 * ((right * (facing < 0) + left * (facing > 0)).clamp(0, 1))
        if random_facing:
            mirror = torch.where(torch.rand(batch, 1, generator=g) < 0.5, 1.0, -1.0) * torch.ones_like(mirror)

        size = size * min(W / H, 1)  # of the shorter side
        # Where each pixel lies in the sprite; of what goes on for longer, what leaves on one side comes back on the other at once.
        aspect, cos, sin = W / H, torch.cos(angle)[..., None, None], torch.sin(angle)[..., None, None]
        down = (torch.arange(H) + 0.5)[:, None] * 2 / H - 1 - y[..., None, None]
        along = (torch.arange(W) + 0.5)[None] * 2 / W - 1 - x[..., None, None]
        if phase is not None:
            down, along = _wrapped(down), _wrapped(along)
        scale = 1 / size[..., None, None]
        grid = torch.stack([mirror[..., None, None] * (cos * aspect * along + sin * down) * scale,
                            (cos * down - sin * aspect * along) * scale], -1).flatten(0, 1)
        sprite = self.sprites[subject][:, None].expand(-1, T, -1, -1, -1).flatten(0, 1)
        sprite = F.grid_sample(sprite, grid, align_corners=False).view(batch, T, 4, H, W)
        variant = torch.randint(self.variants, (batch,), generator=g)
        ground = self.places[place, variant][:, None]
        return (sprite[:, :, :3] + ground * (1 - sprite[:, :, 3:])).clamp(0, 1)


GIVEN = 5  # frames that a window knows at least: two latent ones

# Glyphs that training never shows, for evaluation with a given first frame.
STRANGERS = ["strawberry", "hamburger", "small airplane", "tiger", "elephant", "octopus", "rabbit", "bus", "tractor",
             "bicycle", "tulip", "carrot", "avocado", "snail", "pizza", "lemon"]


def strange_world(folder, names=None):
    """The same motions in pictures that training never shows: other pictures of the places, and other glyphs if `names`."""
    world = small_world(folder)
    world.places = world.places.roll(-world.variants, 1)
    if names is not None:
        from . import sprites

        world.sprites, _ = sprites.load(folder, names)
        world.faces = torch.zeros(len(names))
    return world


SIZES = [(64, 64), (96, 64), (64, 96)]  # width and height of what nano is trained on


def small_world(folder, size=SIZES[0]):
    """The generator of the clips that nano is trained on."""
    from . import sprites

    width, height = size
    pictures, _ = sprites.load(folder, NAMES)
    return Generator(pictures, height, width, faces=[face for _, face in SUBJECTS.values()], spread=0.35, variants=4)
