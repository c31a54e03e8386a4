"""Every error of streamer, named by what its reader must do next.

    StreamerError               exit 1  a bug: report it
    ├── Invalid                 exit 2  change the configuration or the command
    ├── Unavailable             exit 3  wait, or look at the service: it did not answer
    │   └── OutcomeUnknown              a write without an answer: it may have happened, or may yet; read back
    ├── Denied                  exit 4  fix credentials or permissions
    ├── Damaged                 exit 5  look at the lake: it is not what it should be
    ├── PartitionRefused        exit 6  decide about one partition; the others go on
    ├── Stale                           (readers) what was found is older than asked for
    ├── NotFound                        the object is not there
    ├── Conflict                        a conditional write was refused: somebody else's version is there, or our own
    └── Fenced                          another writer has taken the partition over

Each carries what was being done, to which topic, partition, range or key, and a hint: the next step.
The place that handles an error is the place that logs it.
"""

from __future__ import annotations

from typing import ClassVar


class StreamerError(Exception):
    """A bug: report it.

    message: one sentence, lower case, no credentials. hint: the next step, as an order. context: names and values such
    as `key=...`, `topic=...`, printed behind the message and given to the log as fields.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = {name: value for name, value in context.items() if value is not None}

    def __str__(self) -> str:
        where = "".join(f" {name}={value}" for name, value in self.context.items())
        return f"{self.message}{where}"


class Invalid(StreamerError):
    """The configuration, or the command line, asks for what cannot be. Change it."""

    exit_code = 2


class Unavailable(StreamerError):
    """A service did not answer, or answered that it cannot now. Nothing was done. Waiting may help."""

    exit_code = 3


class OutcomeUnknown(Unavailable):
    """A write got no answer. It may have happened, or may still happen; only reading back tells."""


class Denied(StreamerError):
    """A service refused the credentials, or they lack a permission."""

    exit_code = 4


class Damaged(StreamerError):
    """The lake holds something that streamer did not put there, or lacks something it did."""

    exit_code = 5


class PartitionRefused(StreamerError):
    """streamer will not go on with this partition until somebody decides. The other partitions go on."""

    exit_code = 6


class Stale(StreamerError):
    """What was found is older than the caller accepts."""


class NotFound(StreamerError):
    """There is no such object."""


class Conflict(StreamerError):
    """A conditional write was refused. After a re-send this may be our own first attempt: read back and compare."""


class Fenced(StreamerError):
    """Another writer has taken this partition over; everything known about it here is out of date."""
