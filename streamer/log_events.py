"""Every event that streamer logs: its name and what it means. The only place where event names are born.

`docs/metrics.md` is generated from this list; a test fails when an entry is never used.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class LogEvent(StrEnum):
    """The `event` field of a log line."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning = meaning
        return member

    # the process
    STARTED = "started", "the daemon is configured and connected; fields say to what"
    SETTING_UNUSED = (
        "setting_unused",
        "a setting was accepted that this release does not use, or that has no effect as it stands",
    )
    SIGNAL = "signal", "a signal was heard: the process stops in order; a second one ends it at once"
    STOPPING = "stopping", "a signal or the end of the work: batches are cut, written and committed within the budget"
    STOPPED = (
        "stopped",
        "the process ends; `unfinished` partitions will be read again by the next owner, without loss or double",
    )
    TASK_DIED = "task_died", "a part of the daemon ended unexpectedly; the process stops, so that it can be restarted"
    CATCHING_UP_ELSEWHERE = (
        "catching_up_elsewhere",
        "what is assigned here is committed; these partitions, written by other members, are not yet (--until-caught-up)",
    )
    CAUGHT_UP = "caught_up", "every partition has reached the end offset seen at start (--until-caught-up)"
    # partitions
    PARTITION_TAKEN = "partition_taken", "this process now owns the partition, from `committed` on"
    PARTITION_RELEASED = "partition_released", "the partition went to another member of the group, or the process stops"
    PARTITION_REFUSED = (
        "partition_refused",
        "streamer does not go on with this partition until somebody decides; `hint` says how",
    )
    PARTITION_FENCED = "partition_fenced", "another writer took the partition over; what was in memory here is dropped"
    PARTITION_RETRIES = "partition_retries", "a step failed and is tried again from what the lake says; nothing is lost"
    PARTITION_RECOVERED = "partition_recovered", "the steps that failed work again"
    RECOVERING = "recovering", "an earlier owner sealed this range; exactly it is read and written again"
    GAP = "gap", "Kafka no longer has these offsets and they are not in the lake; they are on record in the position"
    TOPIC_MISSING = "topic_missing", "a configured topic does not exist; it is waited for, never created"
    # batches
    BATCH_COMMITTED = (
        "batch_committed",
        "the range is in the lake: its rows, bytes, files, cut reason and seconds spent in each step",
    )
    DEAD_LETTERS = "dead_letters", "records of the batch could not become rows; they are kept under dead-letters/"
    QUALITY_VIOLATIONS = (
        "quality_violations",
        "records of the batch broke this quality rule; `on_violation` says what became of them, `detail` is one example",
    )
    UNKNOWN_FIELDS = (
        "unknown_fields",
        "messages have fields that no column names; `streamer columns TOPIC` prints the TOML to declare them",
    )
    # the day
    THROUGH_WAITS = (
        "through_waits",
        "an idle partition could not say that a day is complete, for Kafka or the lake did not answer; it is tried again",
    )
    ARCHIVE_DAY_CLOSED = "archive_day_closed", "the day is in the archive, and its certificate says what is in it"
    ARCHIVE_DAY_REOPENED = (
        "archive_day_reopened",
        "data of a certified day came late: the day is closed again, as the next revision",
    )
    ARCHIVE_WAITS = (
        "archive_waits",
        "an ended day cannot be closed yet; `partitions` say which are not complete, and up to when they are",
    )
    ARCHIVE_FAILED = "archive_failed", "a day could not be closed; nothing of it is certified, and the next pass tries again"
    ARCHIVE_TAKEN_OVER = (
        "archive_taken_over",
        "another replica closes days now; this one stops in the middle and leaves nothing half done",
    )
    RETENTION_REMOVED = (
        "retention_removed",
        "old files were removed as configured; what they held is in the archive, verified just before",
    )
    # indexes
    INDEX_FAILED = (
        "index_failed",
        "an index could not be brought up to what is committed; the lake is not affected, and it is tried again and caught up",
    )
    INDEX_RECOVERED = "index_recovered", "an index that failed is up to what is committed again"
    INDEX_LEFT_OUT = "index_left_out", "rows are greater than an item of DynamoDB can be; the lake has them, the index has not"
    INDEX_SHORT = (
        "index_short",
        "raw files of rows that were not indexed yet are gone; `streamer index rebuild` reads the archive",
    )
    INDEX_TAKEN_OVER = "index_taken_over", "another replica keeps this index now"
    INDEX_BEHIND = (
        "index_behind",
        "an event is stored, and its index could not be written; `streamer index rebuild` puts that right",
    )
    INDEX_UNREAD = "index_unread", "an index does not answer; a reader gets its answer from the lake instead"
    # readers
    FOLLOW_LIVE = "follow_live", "a reader has given out what the lake had, and goes on with Kafka from these offsets"
    FOLLOW_CAUGHT_UP = (
        "follow_caught_up",
        "Kafka no longer had the offsets that a reader needed next; the lake has them, and the reader goes on behind them",
    )
    FOLLOW_GAP = (
        "follow_gap",
        "neither Kafka nor the lake's raw files have these offsets; the reader was told to go on behind them",
    )
    FOLLOW_ANEW = "follow_anew", "an operator accepted a topic that was made anew; the reader goes on where it begins"
    LAKE_OPENED = "lake_opened", "a reader opened the lake that the environment names; `reason` says why it is not S3"
    # alerts
    ALERTS_WAIT = "alerts_wait", "alerts cannot be sent to their topic; they wait, and what does not fit is dropped and counted"
    ALERTS_SENT_AGAIN = "alerts_sent_again", "alerts reach their topic again"
    # services
    SECRET_CHANGED = (
        "secret_changed",
        "a secret holds other credentials than before; new connections use them, nothing restarts",
    )
    SECRET_UNREADABLE = (
        "secret_unreadable",
        "a secret could not be read again; what it said before is used on, until it can be read or is refused",
    )
    MEMORY_FULL = "memory_full", "the budget is used up: fetching waits until batches have been written"
    KAFKA_UNHEALTHY = "kafka_unhealthy", "the consumer does not work; `problem` says what is wrong"
    KAFKA_HEALTHY = "kafka_healthy", "the consumer works again"
    KAFKA_COMMIT_REFUSED = "kafka_commit_refused", "the group did not take our offsets; lag monitors lag, the lake does not"
    BATCH_READ_FALLBACK = (
        "batch_read_fallback",
        "this aiokafka is not the one known here: records are read by getmany, more slowly",
    )
    KAFKA_RESTARTED = "kafka_restarted", "the consumer did not recover from `problem` by itself and is made anew"
    PARTITION_UNREADABLE = (
        "partition_unreadable",
        "a batch in Kafka is damaged or of an unknown compression; it is tried again, the other partitions go on",
    )
    HANDOVER_CUT_SHORT = (
        "handover_cut_short",
        "partitions were taken away before all that was read could be written; the next owner reads the rest again",
    )
    # feature history
    HISTORY_RESTORED = "history_restored", "the feature history of a partition is read back; what came after it is read again"
    HISTORY_COMPLETE = "history_complete", "the feature history has reached what is committed"
    HISTORY_IGNORED = (
        "history_ignored",
        "a saved feature history was not used, because it is damaged or does not fit the position; it is built anew",
    )
    HISTORY_SHORT = (
        "history_short",
        "rows that belong to the feature history are no longer to be had; it starts with what there is",
    )
    HISTORY_SAVE_FAILED = "history_save_failed", "a feature history could not be saved; the next snapshot tries again"
    HISTORY_UNREADABLE = "history_unreadable", "the saved history of a partition cannot be read; the merged one waits for it"
    HISTORY_WOULD_GO_BACK = (
        "history_would_go_back",
        "the merged history knows more of a partition than the partition's own document; it stays as it is",
    )
    HISTORY_TOO_BIG = (
        "history_too_big",
        "feature histories use up their half of the memory budget: symbols leave; raise memory.budget or lower history.window",
    )
    HISTORY_ABSENT = "history_absent", "a reader asked for feature history and the lake has none; it gets an empty one"
    HISTORY_DAMAGED = (
        "history_damaged",
        "a reader found a damaged feature history and took the newest older one that can be read",
    )
    # model checkpoints
    MODEL_PUSHED = "model_pushed", "a file of the watched directory became this version of its model; `latest` points to it"
    MODEL_KNOWN = "model_known", "the content of a watched file is this version already; nothing was pushed"
    MODEL_NOT_PUSHED = "model_not_pushed", "a watched file could not be pushed; it is tried again, the other files go on"
    MODEL_REFUSED = "model_refused", "a watched file cannot be a model as it is; it is left alone until it changes"
    MODEL_IGNORED = "model_ignored", "a file of the watched directory matches no pattern of models.include; said once"
    MODELS_RECOVERED = "models_recovered", "what a crash had left was put right: versions, plain copies, parts of uploads"
    MODELS_UNWATCHED = "models_unwatched", "the watched directory cannot be read; it is waited for"
    MODELS_WATCHED = "models_watched", "the watched directory is read; every complete file is a version or becomes one"
    MODEL_WATCH_WAITS = "model_watch_waits", "a reader waits for an alias to move, and the lake does not answer; it asks again"
    MODEL_CACHE_UNUSABLE = "model_cache_unusable", "the local cache of models cannot be written; models are fetched each time"
