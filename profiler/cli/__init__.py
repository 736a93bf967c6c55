"""The command line: a thin coat over the library, and the only place that prints.

Results go to stdout, progress and talk to stderr. Each command lives in a module of its
own that is imported when it is called, so `--help` loads neither torch nor an audio
library.
"""

import importlib
import os
import sys

import click

from profiler import __version__
from profiler.errors import ProfilerError

USAGE_EXIT = 2
INTERRUPTED_EXIT = 130

# name on the command line: (module, short help)
COMMANDS = {
    "devices": ("devices", "Audio interfaces, their channels and rates."),
    "doctor": ("doctor", "Is this machine fit, and, with --loop, the interface?"),
    "rig": ("rig", "Rig definitions: list, show, new."),
    "signal": ("signal", "Stimulus definitions: list, show, make."),
    "calibrate": ("calibrate", "Measure the interface with a loop cable."),
    "warmup": ("warmup", "Wait until the amp is warm: quiet bursts until it is stable."),
    "capture": ("capture", "Play a stimulus through a rig and record the response."),
    "import": ("importing", "Make a capture of a pair recorded elsewhere."),
    "check": ("check", "Is a take whole, is it the device, and what spoilt it?"),
    "settle": ("settle", "How long after a tone starts or stops does the amp settle?"),
    "analyse": ("analyse", "All that can be measured on a capture, and figures."),
    "train": ("train", "Train a neural model of a captured device."),
    "verify": ("verify", "Compare an exported model with the device."),
    "export": ("export", "Write a trained model for a player."),
    "render": ("render", "Run a model over a WAV file."),
    "play": ("play", "Play a model live through an audio interface."),
    "report": ("report", "One page about a capture, to look at."),
    "profile": ("profile", "All of it, in order: from a rig to a playable model."),
}


class LazyGroup(click.Group):
    """Knows its commands' names and short helps, and imports one when it is called."""

    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, name):
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"profiler.cli.{COMMANDS[name][0]}")
        return module.command

    def format_commands(self, ctx, formatter):
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(self, ctx, args):
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(
                f"no command is named {args[0]!r}: ampscope --help lists them", ctx
            ) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ampscope")
def command():
    """Measure, capture and model a real guitar amp or pedal.

    Try `ampscope profile tweed`: a simulated tube amp, so no sound is made.
    """


def main() -> None:
    """Run the command; every failure is one line and an exit code."""
    try:
        code = command(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = USAGE_EXIT
    except click.UsageError as error:
        _complain(error.format_message())
        code = USAGE_EXIT
    except click.ClickException as error:
        _complain(error.format_message())
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        notes = [*getattr(error, "__notes__", ()), *getattr(error.__cause__, "__notes__", ())]
        _complain("; ".join(["interrupted", *notes]))
        code = INTERRUPTED_EXIT
    except ProfilerError as error:
        _complain(str(error))
        code = error.exit_code
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        code = ProfilerError.exit_code
    except Exception as error:
        if os.environ.get("AMPSCOPE_TRACEBACK"):
            raise
        _complain(
            f"a fault of ours, please report it: {type(error).__name__}: {error} "
            "(AMPSCOPE_TRACEBACK=1 shows where)"
        )
        code = ProfilerError.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message):
    line = " ".join(message.split())
    click.echo(f"ampscope: {line}", err=True)
