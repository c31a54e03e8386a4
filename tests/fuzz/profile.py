"""How long the fuzzing takes: a few seconds on every save, `make thorough` twenty times as many examples of each property."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

FACTOR = 20
_long = False


def choose_long() -> None:
    """From here on `examples` means the long run. Called before any test module is read."""
    global _long
    _long = True


def examples(quick: int) -> settings:
    """So many examples in the quick suite."""
    return settings(
        max_examples=quick * FACTOR if _long else quick,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )
