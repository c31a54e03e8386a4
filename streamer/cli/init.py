"""`streamer init`: makes what a lake needs, asking first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import ConfigOption, JsonOption, KafkaOption, LakeOption, YesOption, settings_from
from streamer.cli.output import print_json
from streamer.errors import Invalid

if TYPE_CHECKING:
    from streamer.config import Settings
    from streamer.setup.everything import Plan
    from streamer.setup.step import Step


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("init")(init)


def init(
    config: ConfigOption = None,
    lake: LakeOption = None,
    kafka: KafkaOption = None,
    topics: Annotated[bool, typer.Option("--topics", help="Create the topics that are missing, too.")] = False,
    yes: YesOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
    json: JsonOption = False,
) -> None:
    """Create the lake's directory, or its bucket: in the configured region, public access blocked, encrypted, versioned, with
    the lifecycle rules of [lifecycle]. Shows the difference between what is there and what is wanted, and asks before it
    changes anything; what is as it should be is left alone, and so are lifecycle rules of others and topics that exist.
    What the server does not offer is said. With --topics, topics of enabled streams that are missing are created as [topics]
    says.

    \b
    Example:
      streamer init --lake s3://microstream-data --dry-run
      streamer init --topics --yes --json

    \b
    Exit status:
      0  all is as it should be (with --dry-run: was looked at)
      1  a bug
      2  the configuration is wrong, the name is taken, or the answer was no
      3  the store, or Kafka, is unreachable
      4  credentials or permissions were refused
    """
    settings = settings_from(config, lake=lake, kafka=kafka)
    asyncio.run(_init(settings, topics=topics, yes=yes, dry_run=dry_run, json=json))


async def _init(settings: Settings, *, topics: bool, yes: bool, dry_run: bool, json: bool) -> None:
    from streamer.clock import SystemClock
    from streamer.setup.everything import carry_out, look

    async with look(settings, SystemClock(), topics=topics) as plan:
        if not json:
            _print_difference(plan)
        steps = list(plan.steps)
        if plan.due and not dry_run:
            if not (yes or typer.confirm("Make these changes?", err=True)):
                raise Invalid("nothing was created", hint="create the place by other means, or answer yes", lake=plan.url)
            steps = await carry_out(plan.steps)
        _report(plan, steps, dry_run=dry_run, json=json)


def _report(plan: Plan, steps: list[Step], *, dry_run: bool, json: bool) -> None:
    if json:
        created = not plan.existed and not dry_run
        body = {"lake": plan.url, "existed": plan.existed, "created": created, "dry_run": dry_run}
        print_json({**body, "steps": [_document(step) for step in steps]})
        return
    refused = [step for before, step in zip(plan.steps, steps, strict=True) if before.due and not step.due]
    for step in refused:
        print(f"{step.about}: not set, {step.remark}")
    done = len(plan.due) - len(refused)
    if not plan.due:
        print(f"{plan.url} is as it should be")
    elif dry_run:
        print(f"{plan.url}: {_times(len(plan.due), 'change')} would be made")
    else:
        print(f"{plan.url}: {_times(done, 'change')} made")


def _print_difference(plan: Plan) -> None:
    for step in plan.steps:
        remark = f" ({step.remark})" if step.remark else ""
        print(f"{step.about}: {'as it should be' if step.action == 'keep' else step.action}{remark}")
        if step.due:
            for line in step.diff():
                print(f"  {line}")


def _document(step: Step) -> dict[str, Any]:
    return {
        "about": step.about,
        "action": step.action,
        "found": list(step.found),
        "wanted": list(step.wanted),
        "remark": step.remark,
    }


def _times(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
