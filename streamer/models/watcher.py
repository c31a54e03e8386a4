"""Watches a directory and pushes every file that is complete: the daemon's part in model checkpoints.

What is in the lake decides, not what this process remembers: after a restart every file is hashed again, and content that is a
version already is not pushed twice. The trouble of one file is its own: it is tried again, and the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from streamer.clock import Clock, backoff_seconds
from streamer.errors import Invalid, StreamerError
from streamer.log_events import LogEvent
from streamer.metrics import Metrics
from streamer.models.candidates import Completion, Seen, ignored_among, models_among
from streamer.models.models import AsyncModels
from streamer.models.name import split_suffix
from streamer.models.sidecar import read_sidecar, sidecar_names
from streamer.models.watched_folder import Notices, Word, look_into
from streamer.store.big_objects import ContentChanged
from streamer.workers import Workers

log = structlog.get_logger()

LOOK_SECONDS = 30.0
"""A look at least this often, whatever the notifications say."""

RETRY_SECONDS = 5.0
PUSHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What to watch and when a file is complete. poll_seconds: look that often, for volumes without notifications."""

    folder: str
    include: Sequence[str]
    settle_seconds: float
    poll_seconds: float | None = None


@dataclass(slots=True)
class _Trouble:
    failed: int
    again_at: float


class ModelWatcher:
    """Pushes the complete files of one directory. `run` goes on until it is cancelled."""

    def __init__(
        self, models: AsyncModels, settings: WatchSettings, *, clock: Clock, workers: Workers, metrics: Metrics, who: str
    ) -> None:
        self._models = models
        self._settings = settings
        self._clock = clock
        self._workers = workers
        self._metrics = metrics
        self._who = who
        self._completion = Completion(settings.settle_seconds, trust_times=settings.poll_seconds is None)
        self._pushed: dict[str, tuple[object, ...]] = {}
        self._troubles: dict[str, _Trouble] = {}
        self._pushing: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(PUSHES_AT_ONCE)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._notices: Notices | None = None
        self._ignored: set[str] = set()
        self._problem: str | None = None
        self._reading = False
        self._recovered = False

    def problems(self) -> list[str]:
        """Why models are not being pushed; empty where they are."""
        return [self._problem] if self._problem is not None else []

    async def wait_until_idle(self) -> None:
        """Until every complete file that is there is in the lake. A file that fails again and again counts as seen to."""
        await self._idle.wait()

    async def run(self) -> None:
        """Recover what a crash left, then push what is there and what comes."""
        try:
            while True:
                self._wake.clear()
                if not self._recovered:
                    await self._recover()
                await self._listen()
                due_seconds = await self._look()
                # Also short of the timer: a push has ended, or something moved.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(due_seconds):
                        await self._wake.wait()
        finally:
            for task in self._pushing.values():
                task.cancel()
            await asyncio.gather(*self._pushing.values(), return_exceptions=True)
            if self._notices is not None:
                await asyncio.to_thread(self._notices.stop)

    async def _listen(self) -> None:
        """Have the kernel tell what happens in the directory, where it can; looking every so often is what remains."""
        if self._settings.poll_seconds is not None or (self._notices is not None and self._notices.alive):
            return
        loop = asyncio.get_running_loop()

        def heard(file: str, word: Word) -> None:
            # The loop may have ended while the last word was on its way.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._heard, file, word)

        if self._notices is not None:
            await asyncio.to_thread(self._notices.stop)
            self._notices = None
        with contextlib.suppress(OSError):
            self._notices = await asyncio.to_thread(Notices, self._settings.folder, heard)

    def _heard(self, file: str, word: Word) -> None:
        if word is Word.RENAMED:
            self._completion.renamed(file)
        elif word is Word.WRITTEN:
            self._completion.written(file)
        self._wake.set()

    async def _recover(self) -> None:
        try:
            done = await self._models.recover(who=self._who)
        except StreamerError as error:
            log.warning(LogEvent.MODEL_NOT_PUSHED, step="recover", error=str(error), hint=error.hint)
            return
        self._recovered = True
        if done.versions or done.copies or done.uploads:
            log.info(LogEvent.MODELS_RECOVERED, versions=done.versions, copies=done.copies, uploads=done.uploads)
        for model, failure in done.failures:
            log.error(LogEvent.MODEL_NOT_PUSHED, step="recover", model=model, error=str(failure), hint=failure.hint)

    async def _look(self) -> float:
        """Push what is complete; seconds until the next look."""
        known = self._completion.names()
        try:
            there = await self._workers.run(look_into, self._settings.folder)
        except OSError as error:
            self._unreadable(error)
            return RETRY_SECONDS
        self._readable()
        due, now = self._settings.poll_seconds or LOOK_SECONDS, self._clock.monotonic()
        files = models_among(there.keys(), self._settings.include)
        # What was heard of since the look began may be newer than what was seen.
        self._completion.forget([file for file in known if file not in files])
        self._forget_others(files, there)
        for file in files:
            if file not in self._pushing and self._pushed.get(file) != self._identity(file, there):
                wait = self._wait_seconds(file, there[file], now)
                if wait > 0:
                    due = min(due, wait)
                else:
                    self._start(file, there)
        settling = any(self._pushed.get(file) != self._identity(file, there) and file not in self._troubles for file in files)
        (self._idle.clear if settling or not self._recovered else self._idle.set)()
        return due if self._recovered else min(due, RETRY_SECONDS)

    def _wait_seconds(self, file: str, seen: Seen, now: float) -> float:
        trouble = self._troubles.get(file)
        held = trouble.again_at - now if trouble is not None else 0.0
        return max(held, self._completion.look(file, seen, now))

    def _identity(self, file: str, there: dict[str, Seen]) -> tuple[object, ...]:
        """What differs where there is something to push: the content of the file, or of what its trainer says of it."""
        beside = [there[name].content for name in sidecar_names(file) if name in there and name != file]
        return (there[file].content, *beside)

    def _start(self, file: str, there: dict[str, Seen]) -> None:
        task = asyncio.create_task(self._push(file, self._identity(file, there)), name=f"push {file}")
        self._pushing[file] = task
        task.add_done_callback(self._ended(file))

    def _ended(self, file: str) -> Callable[[asyncio.Task[None]], None]:
        def ended(_: asyncio.Task[None]) -> None:
            self._pushing.pop(file, None)
            self._wake.set()

        return ended

    async def _push(self, file: str, identity: tuple[object, ...]) -> None:
        path = os.path.join(self._settings.folder, file)
        model = split_suffix(file)[0]
        try:
            async with self._slots:
                said, sidecar = await self._workers.run(read_sidecar, path)
                started = self._clock.monotonic()
                pushed = await self._models.push_file(path, None, said, who=self._who)
        except ContentChanged:
            # Somebody writes into it: whatever was sent is no object, and it settles anew.
            self._completion.again(file, self._clock.monotonic())
        except Invalid as error:
            self._metrics.models_failed.labels(model).inc()
            self._pushed[file] = identity
            log.error(LogEvent.MODEL_REFUSED, path=path, error=str(error), hint=error.hint)
        except StreamerError as error:
            self._failed(file, model)
            log.error(LogEvent.MODEL_NOT_PUSHED, path=path, error=str(error), hint=error.hint)
        except Exception as error:
            # One odd file must not take the archive of everything else down.
            self._failed(file, model)
            log.exception(LogEvent.MODEL_NOT_PUSHED, path=path, error=repr(error))
        else:
            self._pushed[file] = identity
            self._troubles.pop(file, None)
            version = pushed.version
            self._metrics.models_version.labels(pushed.name).set(version.n)
            if not pushed.created:
                log.info(LogEvent.MODEL_KNOWN, model=pushed.name, version=version.n, path=path)
                return
            self._metrics.models_pushed.labels(pushed.name).inc()
            log.info(
                LogEvent.MODEL_PUSHED,
                model=pushed.name,
                version=version.n,
                key=pushed.key,
                bytes=version.size,
                sha256=version.sha256,
                sidecar=sidecar,
                seconds=round(self._clock.monotonic() - started, 3),
            )

    def _failed(self, file: str, model: str) -> None:
        self._metrics.models_failed.labels(model).inc()
        failed = self._troubles[file].failed if file in self._troubles else 0
        seconds = self._clock.jitter(backoff_seconds(failed, first=RETRY_SECONDS, most=300.0))
        self._troubles[file] = _Trouble(failed + 1, self._clock.monotonic() + seconds)

    def _forget_others(self, files: list[str], there: dict[str, Seen]) -> None:
        for file in [file for file in {*self._pushed, *self._troubles} if file not in files]:
            self._pushed.pop(file, None)
            self._troubles.pop(file, None)
        for file in ignored_among(there.keys(), self._settings.include):
            if file not in self._ignored:
                self._ignored.add(file)
                log.info(LogEvent.MODEL_IGNORED, path=os.path.join(self._settings.folder, file))

    def _unreadable(self, error: OSError) -> None:
        self._idle.set()
        self._reading = False
        if self._problem is None:
            self._problem = f"models: {self._settings.folder} cannot be read: {error.strerror or error}"
            log.error(
                LogEvent.MODELS_UNWATCHED,
                path=self._settings.folder,
                error=error.strerror or str(error),
                hint="mount the volume, or change models.watch; it is looked for again",
            )

    def _readable(self) -> None:
        if not self._reading:
            self._reading, self._problem = True, None
            log.info(LogEvent.MODELS_WATCHED, path=self._settings.folder, include=list(self._settings.include))
