"""int8 convolutions: the bytes between layers, found by running the float networks over latents, and the engine's
arithmetic in numpy, to say what they cost.

A tensor between two layers is bytes if the layer that takes it is int8: number = (byte - zero) * scale, one scale and
zero per tensor. A memory block's image and its past are one tensor at two times, and share both.
"""

from dataclasses import dataclass

import numpy as np

from . import QuantizationError, layout
from .architecture import Kind, autoencoder_stages, networks
from .tensor_file import TensorFile

CALIBRATION_FILE = "calibration.safetensors"
SAMPLES = 100_000  # of a tensor, kept for the search
CLIPS = 24  # that scales are found on
MEASURED_CLIPS = 20
RANKING_CLIPS = 2
CORRECTED = ", means corrected"
_MAGIC = np.float32(12582912)  # 1.5 * 2^23: adding it rounds half to even


@dataclass
class Map:
    """A tensor between layers, [frames, height, width, channels]: float32, or bytes with (scale, zero)."""

    values: np.ndarray
    quantization: tuple | None = None

    def past(self):
        """The same a frame earlier; before the first one, 0."""
        values = np.roll(self.values, 1, axis=0)
        values[0] = self.quantization[1] if self.quantization else 0
        return Map(values, self.quantization)

    def floats(self):
        if self.quantization is None:
            return self.values
        scale, zero = self.quantization
        return (self.values.astype(np.float32) - np.float32(zero)) * np.float32(scale)


def convolve(x, weight, stride=1):
    """Zero padding kernel // 2; x [frames, height, width, in], weight [out, in, kh, kw]."""
    kernel, (frames, height, width, _) = weight.shape[2], x.shape
    pad = kernel // 2
    wide = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = -(-height // stride), -(-width // stride)
    total = np.zeros((frames * rows * columns, len(weight)), x.dtype)
    for ky in range(kernel):
        for kx in range(kernel):
            part = wide[:, ky:ky + height:stride, kx:kx + width:stride]
            total += part.reshape(-1, x.shape[3]) @ np.ascontiguousarray(weight[:, :, ky, kx].T)
    return total.reshape(frames, rows, columns, -1)


def to_bytes(values, quantization, low=None):
    """float32 in units of the scale to bytes, as the kernels do it: NaN to the lowest, a tie to the even byte."""
    zero = quantization[1]
    low = np.float32(-zero if low is None else low)
    values = np.where(values > low, values, low)
    values = np.where(values < np.float32(255 - zero), values, np.float32(255 - zero))
    return (values + (_MAGIC + np.float32(zero))).view(np.uint32).astype(np.uint8)


class Runner:
    """Runs layers: int8 those in `quantizations` (name to scale and zero of what they take), float32 the others."""

    def __init__(self, weights, quantizations=(), biases=()):
        self.weights, self.quantizations = weights, dict(quantizations)
        self.biases = dict(biases)  # that stand for the weights' own where a layer is int8
        self._int8 = {}  # values and scale of weights, as rows

    def int8(self, name):
        if name not in self._int8:
            weight = self.weights[f"{name}.weight"]
            self._int8[name] = layout.quantize_rows(weight.reshape(len(weight), -1))
        return self._int8[name]

    def take(self, name, values):
        """float32 from outside, as layer `name` takes it."""
        quantization = self.quantizations.get(name)
        if quantization is None:
            return Map(values)
        inverse = np.float32(1) / np.float32(quantization[0])
        return Map(to_bytes(values * inverse, quantization), quantization)

    def __call__(self, name, x, to=None, past=None, residual=None, relu=False, stride=1):
        """Layer `name` over `x` (and its past beside it) for the layer called `to`, or as floats."""
        shape = self.weights[f"{name}.weight"].shape
        bias = self.weights.get(f"{name}.bias")
        target = self.quantizations.get(to)
        if name not in self.quantizations:
            values = x.values if past is None else np.concatenate([x.values, past.values], axis=3)
            values = self.float_layer(name, values, stride)
            if bias is not None:
                values += bias
            if residual is not None:
                values += residual.floats()
            values = np.maximum(values, 0) if relu else values
            return self.take(to, values) if target else Map(values)
        scale, zero = x.quantization
        values = x.values if past is None else np.concatenate([x.values, past.values], axis=3)
        rows, row_scale = self.int8(name)
        sums = convolve(values.astype(np.float64) - zero, rows.reshape(shape).astype(np.float64), stride)
        bias = self.biases.get(name, bias)
        k = np.float32(1) / np.float32(target[0]) if target else np.float32(1)
        values = sums.astype(np.float32) * ((np.float32(scale) * row_scale) * k)
        if bias is not None:
            values = values + bias * k
        if residual is not None and residual.quantization:
            of, at = residual.quantization
            values = values + (residual.values.astype(np.float32) - np.float32(at)) * (np.float32(of) * k)
        elif residual is not None:
            values = values + residual.values * k
        if target:
            return Map(to_bytes(values, target, 0 if relu else None), target)
        return Map(np.maximum(values, np.float32(0)) if relu else values)

    def float_layer(self, name, values, stride):
        return convolve(values, self.weights[f"{name}.weight"], stride)


class Observer(Runner):
    """Runs everything in float32 and remembers each layer's input: its range, and a sample."""

    def __init__(self, weights):
        super().__init__(weights)
        self.range, self.samples = {}, {}
        self._generator = np.random.default_rng(1)

    def float_layer(self, name, values, stride):
        low, high = self.range.get(name, (0.0, 0.0))
        self.range[name] = min(low, float(values.min())), max(high, float(values.max()))
        # A few of every run: enough for the search, whatever the number of clips.
        some = self._generator.choice(values.reshape(-1), min(values.size, SAMPLES // CLIPS))
        self.samples.setdefault(name, []).append(some)
        return super().float_layer(name, values, stride)


class MeanError(Runner):
    """Runs everything in float32 and finds for each layer what rounding its weights and its input does to its mean
    output. Channels that carry constants are hit hardest: their error is the same everywhere."""

    def __init__(self, weights, choices):
        super().__init__(weights)
        self.choices, self._taps = choices, {}

    def float_layer(self, name, values, stride):
        scale, zero = self.choices[name]
        scale = np.float32(scale)
        rounded = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
        exact, near, count = self._taps.get(name, (0, 0, 0))
        kernel, places = self.weights[f"{name}.weight"].shape[2], outputs_of(values.shape, stride)
        self._taps[name] = (exact + tap_sums(values, kernel, stride), near + tap_sums(rounded, kernel, stride),
                            count + places)
        return super().float_layer(name, values, stride)

    def bias(self, name):
        """The layer's own, less that error."""
        weight = self.weights[f"{name}.weight"].reshape(len(self.weights[f"{name}.weight"]), -1)
        rows, scale = layout.quantize_rows(weight)
        exact, near, count = self._taps[name]
        mean = weight @ exact.reshape(-1) - (rows * scale[:, None].astype(np.float64)) @ near.reshape(-1)
        return (mean / count + self.weights.get(f"{name}.bias", 0)).astype(np.float32)


def outputs_of(shape, stride):
    """Places that a convolution makes of [frames, height, width, channels]."""
    return shape[0] * -(-shape[1] // stride) * -(-shape[2] // stride)


def tap_sums(values, kernel, stride):
    """[channels, kernel * kernel]: what each tap meets in all, the zeros around the image included."""
    _, height, width, _ = values.shape
    wide = np.pad(values, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2, (0, 0)))
    return np.stack([wide[:, y:y + height:stride, x:x + width:stride].sum(axis=(0, 1, 2), dtype=np.float64)
                     for y in range(kernel) for x in range(kernel)], axis=1)


def memory_block(run, name, x, to):
    inner = run(f"{name}.conv.0", x, f"{name}.conv.2", past=x.past(), relu=True)
    outer = run(f"{name}.conv.2", inner, f"{name}.conv.4", relu=True)
    return run(f"{name}.conv.4", outer, to, residual=x, relu=True)


def decode(config, latents, run):
    """TAEHV's decoder: latents [C, T, H, W] to [frames, height, width, 3 * patch * patch], not clamped, the first
    frames that a whole latent frame makes too many dropped. As the engine, frames grow before pixels do: a 1x1
    convolution and nearest enlarging can change places."""
    stages = autoencoder_stages(config, "decoder")
    x = np.ascontiguousarray(np.asarray(latents, np.float32).transpose(1, 2, 3, 0))
    x = np.tanh(x / np.float32(3)) * np.float32(3)

    def entry(index, stage):
        """The name of the first layer that stands at module `index`."""
        if stage == len(stages):
            return f"decoder.{index + 1}"
        return f"decoder.{index}.conv.0" if stages[stage][1] else f"decoder.{index + 1}.conv"

    x = run("decoder.1", run.take("decoder.1", x), entry(3, 0), relu=True)
    index, time_factor = 3, 1
    for number, (width, blocks, space, time, _) in enumerate(stages):
        for block in range(blocks):
            following = f"decoder.{index + 1}.conv.0" if block + 1 < blocks else f"decoder.{index + 2}.conv"
            x = memory_block(run, f"decoder.{index}", x, following)
            index += 1
        last = number + 1 == len(stages)
        grow, convolution = f"decoder.{index + 1}.conv", f"decoder.{index + 2}"
        x = run(grow, x, convolution)
        frames, height, wide, _ = x.values.shape
        values = x.values.reshape(frames, height, wide, time, width).transpose(0, 3, 1, 2, 4)
        values = values.reshape(frames * time, height, wide, width).repeat(space, 1).repeat(space, 2)
        x = run(convolution, Map(values, x.quantization), entry(index + 3, number + 1), relu=last)
        index, time_factor = index + 3, time_factor * time
    return run(f"decoder.{index + 1}", x).values[time_factor - 1:]


def encode(config, pixels, run):
    """TAEHV's encoder: [frames, height, width, 3 * patch * patch] in 0...1 to latents [C, T, H, W]; copies of the first
    frame stand in front."""
    stages = autoencoder_stages(config, "encoder")
    factor = int(np.prod([stage[3] for stage in stages]))
    pixels = np.concatenate([pixels[:1]] * (factor - 1) + [pixels])
    x = run("encoder.0", run.take("encoder.0", pixels), "encoder.2.conv", relu=True)
    index = 2
    for number, (_, blocks, space, time, _) in enumerate(stages):
        def following(at, number=number):
            last = number + 1 == len(stages)
            return f"encoder.{at}" if last else f"encoder.{at}.conv"

        first, second = ((Map(x.values[0::2], x.quantization), Map(x.values[1::2], x.quantization))
                         if time == 2 else (x, None))
        x = run(f"encoder.{index}.conv", first, f"encoder.{index + 1}", past=second)
        index += 2
        x = run(f"encoder.{index - 1}", x, f"encoder.{index}.conv.0" if blocks else following(index), stride=space)
        for block in range(blocks):
            index += 1
            x = memory_block(run, f"encoder.{index - 1}", x,
                             f"encoder.{index}.conv.0" if block + 1 < blocks else following(index))
    return run(f"encoder.{index}", x).values.transpose(3, 0, 1, 2)


def preview(config, latents, run):
    """Normalised latents [C, T, H, W] to [T, H, W, 3 * shuffle * shuffle]."""
    count = len(config["widths"]) + 1
    x = run.take("conv.0", np.ascontiguousarray(np.asarray(latents, np.float32).transpose(1, 2, 3, 0)))
    for index in range(count):
        last = index + 1 == count
        x = run(f"conv.{index}", x, None if last else f"conv.{index + 1}", relu=not last)
    return x.values


def quantization(low, high):
    """Scale and zero of bytes that reach from `low` to `high`, and 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max(high - low, 1e-20) / 255)
    return float(scale), int(np.clip(np.rint(-low / float(scale)), 0, 255))


def least_error(samples, low, high):
    """The part of the range with the smallest mean squared error over `samples`: clipping few spares all others."""
    best = None
    for part in np.linspace(0.5, 1, 26):
        scale, zero = quantization(low * part, high * part)
        back = (np.clip(np.rint(samples / np.float32(scale)) + zero, 0, 255) - zero) * np.float32(scale)
        error = float(np.square(back - samples, dtype=np.float64).mean())
        if best is None or error < best[0]:
            best = error, (scale, zero)
    return best[1]


def psnr(a, b):
    """Of pictures in 0...1, in dB; 99 when they are equal."""
    error = float(np.square(np.clip(a, 0, 1) - np.clip(b, 0, 1), dtype=np.float64).mean())
    return 99.0 if error == 0 else min(99.0, -10 * np.log10(error))


def load_latents(path, channels):
    """`latents` of a calibration file, [clips, C, T, H, W], not normalised; at least two clips."""
    latents = TensorFile(path).float32("latents")
    if latents.ndim != 5 or latents.shape[1] != channels or len(latents) < 2 or latents.size == 0:
        raise QuantizationError(f"{path}: 'latents' is {list(latents.shape)}, must be [2 or more clips, {channels}, T, H, W]")
    return latents


@dataclass
class Measure:
    """What int8 costs a network: PSNR against float32, mean and worst of the clips not calibrated on."""

    mean: float
    worst: float

    def __str__(self):
        return f"mean {self.mean:.2f} dB, worst {self.worst:.2f} dB"


class Part:
    """A network of a checkpoint that convolutions make up, with the clips that calibrate and those that measure."""

    def __init__(self, name, weights, layers, calibrating, measuring, run):
        self.name, self.layers = name, layers
        self.weights = weights
        self._run, self._measuring = run, measuring
        observer = Observer(weights)
        for clip in calibrating:
            run(clip, observer)
        self._expected = [run(clip, Runner(weights)) for clip in measuring]
        self.choices = {"range": {}, "least error": {}}
        for layer in layers:
            low, high = observer.range[layer]
            self.choices["range"][layer] = quantization(low, high)
            self.choices["least error"][layer] = least_error(np.concatenate(observer.samples[layer]), low, high)
        self.biases = {way: {} for way in self.choices}
        for way, choice in list(self.choices.items()):
            errors = MeanError(weights, choice)
            for clip in calibrating:
                run(clip, errors)
            better = way + CORRECTED
            self.choices[better] = choice
            self.biases[better] = {layer: errors.bias(layer) for layer in layers}

    def measure(self, quantizations, biases, clips=None):
        runner = Runner(self.weights, quantizations, biases)
        values = [psnr(self._run(clip, runner), expected)
                  for clip, expected in list(zip(self._measuring, self._expected))[:clips]]
        return Measure(float(np.mean(values)), min(values))


def parts(checkpoint, latents):
    """Decoder, encoder if there is one, and preview, with what calibrates and measures each."""
    config = checkpoint.description["autoencoder"]
    mean, std = (np.float32(checkpoint.description["latents"][name])[:, None, None, None] for name in ("mean", "std"))
    measured = min(MEASURED_CLIPS, len(latents) // 2)
    pick = np.linspace(0, len(latents) - 1, min(CLIPS + measured, len(latents))).astype(int)
    # Evenly among the others, the last one being one of them.
    places = {len(pick) * (count + 1) // measured - 1 for count in range(measured)}
    measuring = [latents[pick[place]] for place in sorted(places)]
    calibrating = [latents[index] for place, index in enumerate(pick) if place not in places]
    if not calibrating:
        calibrating = measuring
    weights = checkpoint.weights["autoencoder.safetensors"]
    layers = {file: [layer.name for layer in layers if layer.kind is Kind.CONVOLUTION]
              for file, layers in networks(checkpoint.description).items()}
    named = layers["autoencoder.safetensors"]
    yield Part("decoder", weights, [name for name in named if name.startswith("decoder.")], calibrating, measuring,
               lambda clip, run: decode(config, clip, run))
    if "encoder" in config:
        runner = Runner(weights)
        frames = [[np.clip(decode(config, clip, runner), 0, 1) for clip in clips] for clips in (calibrating, measuring)]
        # Latents are compared as the pictures that the float decoder makes of them; what it sees while it calibrates is
        # the encoder's alone.
        yield Part("encoder", weights, [name for name in named if name.startswith("encoder.")], *frames,
                   lambda clip, run: encode(config, clip, run) if isinstance(run, (Observer, MeanError))
                   else decode(config, encode(config, clip, run), runner))
    normalised = [[(clip - mean) / std for clip in clips] for clips in (calibrating, measuring)]
    yield Part("preview", checkpoint.weights["preview.safetensors"], layers["preview.safetensors"], *normalised,
               lambda clip, run: preview(checkpoint.description["preview"], clip, run))


def calibrate(checkpoint, latents, keep=lambda name: False, minimum=40.0, report=print):
    """File name to {layer: ((scale, zero), bias)} for the layers that become int8, `keep` aside.

    Of several ways the one with the better worst clip is taken. While that is below `minimum` dB, layers go back to
    float32, first the one that costs most by itself; whether its mean is corrected is then decided for each layer.
    """
    result = {"autoencoder.safetensors": {}, "preview.safetensors": {}}
    for part in parts(checkpoint, latents):
        layers = [name for name in part.layers if not keep(name)]
        if not layers:
            continue
        measured = {}
        for way, choice in part.choices.items():
            measured[way] = part.measure({name: choice[name] for name in layers}, part.biases[way])
            report(f"{part.name}: {len(layers)} convolutions int8, scales by {way}: {measured[way]}")
        way = max(measured, key=lambda way: measured[way].worst)
        chosen, quality, biases = {name: part.choices[way][name] for name in layers}, measured[way], part.biases[way]
        if quality.worst < minimum:
            plain = way.removesuffix(CORRECTED)
            alone, biases = {}, {}
            for name in layers:
                without, corrected = (part.measure({name: chosen[name]}, part.biases[kind], RANKING_CLIPS).worst
                                      for kind in (plain, plain + CORRECTED))
                alone[name] = max(without, corrected)
                if corrected > without:
                    biases[name] = part.biases[plain + CORRECTED][name]
            order = sorted(layers, key=alone.get)
            quality = part.measure(chosen, biases)
            while quality.worst < minimum and chosen:
                most = order.pop(0)
                del chosen[most]
                quality = part.measure(chosen, biases)
                report(f"{part.name}: {most} (by itself {alone[most]:.2f} dB) stays float32: {quality}")
        file = "preview.safetensors" if part.name == "preview" else "autoencoder.safetensors"
        for name, value in chosen.items():
            own = part.weights.get(f"{name}.bias")
            own = np.zeros(len(part.weights[f"{name}.weight"]), np.float32) if own is None else own
            result[file][name] = value, biases.get(name, own)
    return result
