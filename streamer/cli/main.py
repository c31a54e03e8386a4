"""The command line: puts the commands together, and turns every end of one into a line for people and an exit status.

One file per command, each with `register(app)`. They import what is heavy inside their functions, so that `--help` is quick.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from streamer import __version__
from streamer.cli.output import print_error
from streamer.errors import Invalid, NotFound, Stale, StreamerError

COMMANDS = (
    "run",
    "demo",
    "check",
    "init",
    "policy",
    "plan",
    "secrets",
    "config_show",
    "ls",
    "scan",
    "query",
    "ddl",
    "sync",
    "verify",
    "archive",
    "mark_cold",
    "positions",
    "dead_letters",
    "columns",
    "state",
    "models",
    "bundles",
    "index",
    "documents",
    "lineage",
)
"""In the order of the help page. Each is a module beside this one."""

EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
"""As every tool that SIGPIPE ends: `| head` has read enough. Not 0, for the work was not finished."""

HELP = """Archives market data from Kafka to a lake in object storage, exactly once.

\b
Example:
  export KAFKA_BOOTSTRAP_SERVERS=localhost:9092 S3_BUCKET_NAME=microstream-data
  streamer check && streamer run

\b
Exit status:
  0    done
  1    a bug
  2    the configuration or the command line is wrong
  3    a service is unreachable
  4    credentials or permissions were refused
  5    the lake is damaged, or `verify` found something
  6    a partition was refused, and the rest is done
  130  interrupted
"""


def _version(wanted: bool) -> None:
    if wanted:
        print(f"streamer {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """The options before the command."""


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="streamer",
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # the help texts keep their lines, and no library is loaded to draw boxes around them
        pretty_exceptions_enable=False,  # it prints local variables
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_root)
    for name in COMMANDS:
        importlib.import_module(f"streamer.cli.{name}").register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status. Never raises: every error ends here."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in arguments
    try:
        outcome = build()(arguments, prog_name="streamer", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            return EXIT_PIPE_CLOSED
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except typer.Abort as aborted:
        if isinstance(aborted.__context__, EOFError):
            error = Invalid("there is nobody to ask: standard input has ended", hint="use --yes where the answer is yes")
            print_error(error, as_json=as_json)
            return error.exit_code
        return EXIT_INTERRUPTED
    except BaseException as error:  # noqa: BLE001 -- the last door: past it is a traceback without an explanation
        return _report(error, as_json=as_json)


def _report(error: BaseException, *, as_json: bool) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help page
        print(error, file=sys.stderr)
        return Invalid.exit_code
    if (usage := _usage_error(error)) is not None:
        print_error(usage, as_json=as_json)
        return usage.exit_code
    known = [leaf for leaf in _leaves(error) if isinstance(leaf, StreamerError)]
    unknown = [leaf for leaf in _leaves(error) if not isinstance(leaf, StreamerError)]
    bugs = [leaf for leaf in known if leaf.exit_code == 1 and not isinstance(leaf, NotFound | Stale)]
    if unknown or bugs:
        from streamer.logs import redacted

        print(redacted("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    for leaf in known:
        print_error(leaf, as_json=as_json)
    if unknown or bugs:
        bug = StreamerError(
            f"this is a bug in streamer {__version__}",
            hint="please report it with the lines above; what the lake holds is not affected",
            exception=type((unknown or bugs)[0]).__name__,
        )
        print_error(bug, as_json=as_json)
        return bug.exit_code
    return min(leaf.exit_code for leaf in known)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _usage_error(error: BaseException) -> Invalid | None:
    """What the command line's own parser refused. It is known by its two marks: typer once used click's classes, and now has
    its own."""
    if isinstance(error, StreamerError) or not (hasattr(error, "format_message") and getattr(error, "exit_code", None) == 2):
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "streamer"
    text = str(error.format_message()).strip()
    return Invalid(text[:1].lower() + text[1:].rstrip("."), hint=f"see `{command} --help`")


if __name__ == "__main__":
    sys.exit(main())
