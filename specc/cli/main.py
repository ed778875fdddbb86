"""`specc`: the command line. A subcommand's file is imported when it is called, so that `specc check` starts fast."""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import sys
from collections.abc import Sequence

import click

from specc.cli.common import report
from specc.diagnostics import SpecError

COMMANDS = {  # name: (file beside this one, what it does)
    "new": ("new", "Write a starter spec with a comment on each line."),
    "check": ("check", "Say what is wrong with specs, or what their defaults are."),
    "fmt": ("fmt", "Format specs in place."),
    "compile": ("compile", "Write a spec as a PyTorch project, ONNX files or the IR."),
    "train": ("train", "Compile a spec and train it."),
    "sample": ("sample", "Draw samples from a trained run or an ONNX file."),
    "export": ("export", "Write a sampler of a trained run as one ONNX file."),
    "evaluate": ("evaluate", "Compare samples of a trained run with held-out data."),
    "dump": ("dump", "Print a spec as one stage of the compiler sees it."),
    "explain": ("explain", "Explain the code of a diagnostic."),
    "list": ("listing", "Show the library, one definition a line."),
}


class LazyGroup(click.Group):
    """Finds a subcommand by `COMMANDS`; the list of them, with their help, needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        return importlib.import_module(f"specc.cli.{module}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no command `{args[0]}`" + (f"; did you mean `{near[0]}`?" if near else ""))
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="specc")
def cli() -> None:
    """A compiler for generative models: a spec becomes training code and a one-file sampler.

    Exit codes: 0, 1 for errors in a spec, 2 for wrong usage, 3 for a failure while running.
    """


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing gets out of here but a code."""
    try:
        code = cli.main(args=None if args is None else list(args), prog_name="specc", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 3
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 0
    except SpecError as error:  # of what shows when a file is made
        report([error.diagnostic])
        return 1
    except OSError as error:
        click.echo(f"error: {error}", err=True)
        return 3
    except Exception as error:
        if os.environ.get("SPECC_DEBUG"):
            raise
        click.echo(f"error: a fault in specc, not in your spec: {type(error).__name__}: {error}", err=True)
        click.echo("help: please report it with the spec; SPECC_DEBUG=1 shows where it happened", err=True)
        return 3


def main() -> None:
    gc.set_threshold(100_000)  # nearly all that a compiler makes lives to its end, and every walk over it finds that again
    sys.exit(run())


if __name__ == "__main__":
    main()
