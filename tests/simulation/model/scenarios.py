"""What is examined: the protocol in the worlds it must stand, sentences taken loosely, and steps broken on purpose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tests.simulation.model.spec import Spec


@dataclass(frozen=True, slots=True)
class Scenario:
    """`expected` is `holds`, or the kind of violation that must be found. `says` is one sentence."""

    name: str
    says: str
    group: Literal["holds", "as written", "mutation"]
    expected: str
    spec: Spec

    @property
    def small(self) -> Spec:
        """The same for the default tests: a record less where the rule holds; what is broken is found at once anyway."""
        return replace(self.spec, records=self.spec.records - 1) if self.expected == "holds" else self.spec


def _holds(name: str, says: str, **spec: object) -> Scenario:
    return Scenario(name, says, "holds", "holds", Spec(**spec))  # type: ignore[arg-type]


def _as_written(name: str, kind: str, says: str, **spec: object) -> Scenario:
    return Scenario(name, says, "as written", kind, Spec(**{"watch": "listed", **spec}))  # type: ignore[arg-type]


def _mutation(name: str, kind: str, says: str, **spec: object) -> Scenario:
    return Scenario(name, says, "mutation", kind, Spec(**{"watch": "listed", **spec}))  # type: ignore[arg-type]


HOLDS = (
    _holds("core", "The protocol, with crashes, zombies, lost answers, requests sent twice and late ones."),
    _holds("core, same body again", "A change that has not landed is sent again unchanged.", retry="same"),
    _holds("no merge of commit and seal", "Commit and the next seal are two PUTs.", merge=False),
    _holds("host's name, body settles", "A writer named like the one before it is told apart by the body.", identity="host"),
    _holds(
        "sequence settles, same body",
        "A sequence number is enough where the same body is sent again.",
        settle="sequence",
        retry="same",
    ),
    _holds("overwriting PUT", "Data files may be overwritten, since a seal fixes what is in them.", create_only=False),
    _holds("rebalances, retake", "The member that Kafka named last never waits for ever.", records=2, reassign=True),
    _holds("layout recorded", "A sealed range is finished under the layout of its seal.", layouts=(0, 1, 0)),
    _holds("layout recorded, three files", "The same where only validation changed.", layouts=(0, 2, 1)),
    _holds(
        "Kafka retention",
        "The head of the log is lost at any moment; what is left keeps the range's name.",
        records=2,
        retention=True,
    ),
    _holds(
        "raw retention, quiet", "Closed files are deleted when no PUT of theirs is under way.", records=2, raw_retention="quiet"
    ),
    _holds(
        "archive merged", "A revision of the day merges the one before it.", records=2, raw_retention="quiet", archive="merge"
    ),
    _holds(
        "topic accepted, lineage",
        "An accepted new topic writes under a lineage of its own.",
        records=2,
        recreate="accept-lineage",
    ),
    _holds("history fed at commit", "Feature history is fed at commit and saved with its offset.", history="commit"),
    _holds("key without end, sealed", "With a seal even keys without an end offset are safe.", key="start"),
    # beyond the first sketch: what the daemon does and the sketch did not have
    _holds("compaction, fuller file wins", "Compaction takes records of a sealed range that is half written.", compaction=True),
    _holds("through moves by itself", "With nothing to write the position moves on with the clock.", records=2, clock=True),
    _holds(
        "restarts under one name",
        "A process drops what it believes and takes over again, under its own name.",
        records=2,
        restarts=True,
    ),
    _holds(
        "restarts, adopts by name",
        "A take-over that an older request of the same name overtakes adopts that version, without a new epoch.",
        records=2,
        restarts=True,
        adopt="writer",
    ),
    _holds(
        "restarts, adopts by name, layouts",
        "The same where the replicas have different layouts.",
        records=2,
        restarts=True,
        adopt="writer",
        layouts=(0, 1, 0),
    ),
)

AS_WRITTEN = (
    _as_written(
        "settle by writer and epoch",
        "DOUBLE",
        "A version with our writer and epoch is taken for the one we sent.",
        settle="writer-epoch",
    ),
    _as_written("settle by sequence as well", "DOUBLE", "Two cuts of ours can have the same sequence.", settle="sequence"),
    _as_written(
        "writer is the host's name",
        "DOUBLE",
        "A restarted StatefulSet pod takes its predecessor's change for its own.",
        identity="host",
        settle="sequence",
        retry="same",
    ),
    _as_written(
        "layout change: cleanup by listing",
        "DOUBLE",
        "Files of the old layout are listed and deleted before the range is written anew.",
        layouts=(0, 1),
        layout_rule="cleanup",
    ),
    _as_written(
        "layout cleanup, same paths",
        "DOUBLE",
        "The same where the paths stay and validation changes.",
        layouts=(0, 2),
        layout_rule="cleanup",
    ),
    _as_written(
        "layout cleanup, then rollback",
        "LOST",
        "A DELETE that lands after the rollback takes files that are wanted again.",
        records=1,
        writers=3,
        layouts=(0, 1, 0),
        layout_rule="cleanup",
        watch="lost",
    ),
    _as_written(
        "fenced, and waits",
        "STUCK",
        "A fenced member that Kafka still names waits for a rebalance that never comes.",
        records=2,
        reassign=True,
        fenced="wait",
    ),
    _as_written(
        "412 asks for equal rows",
        "STUCK",
        "After retention the file that is there has more rows than are left.",
        retention=True,
        fuller="never",
    ),
    _as_written(
        "fuller wins after retention only",
        "STUCK",
        "After compaction the file that is there has more rows too.",
        compaction=True,
        fuller="after-retention",
    ),
    _as_written("store without conditional writes", "DOUBLE", "Every PUT is carried out.", cas=False),
    _as_written(
        "late PUT after raw retention",
        "RISEN",
        "Closed files are deleted while a PUT of theirs may still land.",
        records=2,
        raw_retention="any-time",
    ),
    _as_written(
        "revision n+1 reads raw alone",
        "LOST",
        "The new revision of a day forgets what raw retention has deleted.",
        records=2,
        raw_retention="quiet",
        archive="raw",
    ),
    _as_written(
        "new topic as long as committed",
        "LOST",
        "A topic made anew is noticed by its length alone.",
        records=2,
        recreate="unnoticed",
    ),
    _as_written(
        "new topic accepted, same keys",
        "LOST",
        "The accepted topic writes under the keys of the old one.",
        records=2,
        recreate="accept",
    ),
)

MUTATIONS = (
    _mutation("no seal", "DOUBLE", "Where a batch ends is not on record before it is written.", seal="none"),
    _mutation("seal without CAS", "DOUBLE", "The seal overwrites whatever is there.", seal="put"),
    _mutation("seal k+1 before commit k", "LOST", "A second range is sealed while the first is being written.", seal="ahead"),
    _mutation(
        "commit before write", "LOST", "The position moves before the files are there.", order="commit-write", seal="none"
    ),
    _mutation("commit after the first file", "LOST", "The position moves before all files are there.", order="commit-early"),
    _mutation("epoch ignored", "DOUBLE", "A fenced writer takes the new ETag and goes on.", settle="overwrite"),
    _mutation("recovery cuts freely", "DOUBLE", "The next owner ends the sealed range where it likes.", recovery="free"),
    _mutation(
        "no seal, key without end",
        "LOST",
        "One name for different ranges, and the last PUT wins.",
        seal="none",
        key="start",
        create_only=False,
    ),
    _mutation("writer in the key", "DOUBLE", "The next owner writes the same rows under another name.", key="writer"),
    _mutation(
        "layout ignored",
        "DOUBLE",
        "A sealed range is finished under the layout configured now.",
        layouts=(0, 1),
        layout_rule="ignore",
    ),
    _mutation(
        "layout set at take-over",
        "DOUBLE",
        "Taking over replaces the layout of the range that is sealed.",
        layouts=(0, 1),
        layout_rule="cleanup",
        layout_set="takeover",
    ),
    _mutation(
        "lost head: sealed shrinks",
        "DOUBLE",
        "What is left of a sealed range gets a name of its own.",
        retention=True,
        fuller="shrink",
    ),
    _mutation("history fed before commit", "HISTORY", "Rows are fed that a successor may have to feed again.", history="write"),
    _mutation(
        "history restored without diff",
        "HISTORY",
        "The rows between the snapshot and the position are missing.",
        history="skip",
    ),
    _mutation(
        "history saved over a newer", "HISTORY", "A zombie saves its older history over the newer one.", history="stale-put"
    ),
    _mutation(
        "history labelled by position", "HISTORY", "Rows are saved under an offset they do not correspond to.", history="label"
    ),
)

ALL = HOLDS + AS_WRITTEN + MUTATIONS
