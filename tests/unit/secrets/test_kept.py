"""A secret in use: when it is read, and what becomes of it when it cannot be, or was refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from streamer.errors import Invalid, Unavailable
from streamer.secrets.contract import AwsKeys, KafkaLogin
from streamer.secrets.kept import EXPIRY_MARGIN_SECONDS, KeptSecret
from streamer.secrets.secret import keys_text, login_text, parse_keys, parse_login
from streamer.testing.manual_clock import ManualClock


class Vault:
    """A secret store of one secret."""

    def __init__(self) -> None:
        self.value = AwsKeys("AK1", "first-secret")
        self.away = False
        self.reads = 0

    async def read(self) -> AwsKeys:
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("no answer", hint="wait")
        return self.value


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def kept(vault: Vault, clock: ManualClock) -> KeptSecret[AwsKeys]:
    return KeptSecret("lake/keys", vault.read, clock, refresh_seconds=300.0)


async def test_many_calls_at_once_read_it_once(kept: KeptSecret[AwsKeys], vault: Vault) -> None:
    found = await asyncio.gather(*(kept.current() for _ in range(20)))

    assert set(found) == {vault.value}
    assert vault.reads == 1


async def test_it_is_read_again_when_its_time_has_come(kept: KeptSecret[AwsKeys], vault: Vault, clock: ManualClock) -> None:
    await kept.current()
    vault.value = AwsKeys("AK2", "second-secret")
    await clock.advance(299)
    before = await kept.current()
    await clock.advance(2)

    assert (before.access_key_id, (await kept.current()).access_key_id) == ("AK1", "AK2")


async def test_a_refusal_makes_it_look_at_once_and_find_what_is_new(kept: KeptSecret[AwsKeys], vault: Vault) -> None:
    old = await kept.current()
    vault.value = AwsKeys("AK2", "second-secret")
    kept.refused(old)

    assert await kept.current() == vault.value


async def test_a_refusal_of_keys_that_are_history_is_no_news(kept: KeptSecret[AwsKeys], vault: Vault) -> None:
    old = await kept.current()
    vault.value = AwsKeys("AK2", "second-secret")
    kept.refused(old)
    await kept.current()
    kept.refused(old)
    await kept.current()

    assert vault.reads == 2


async def test_a_refusal_that_the_secret_cannot_mend_does_not_hammer_the_vault(
    kept: KeptSecret[AwsKeys], vault: Vault, clock: ManualClock
) -> None:
    for _ in range(600):
        kept.refused(await kept.current())
        await clock.advance(0.5)

    assert vault.reads < 15
    vault.value = AwsKeys("AK2", "second-secret")
    await clock.advance(61)
    assert await kept.current() == vault.value


async def test_keys_that_end_are_replaced_before_they_end(vault: Vault, clock: ManualClock) -> None:
    ends = clock.now() + timedelta(hours=1)
    vault.value = AwsKeys("AK1", "first-secret", "token", ends)
    kept = KeptSecret("lake/keys", vault.read, clock, refresh_seconds=86_400.0)
    await kept.current()
    vault.value = AwsKeys("AK2", "second-secret", "token", ends + timedelta(hours=1))
    await clock.advance(3600 - EXPIRY_MARGIN_SECONDS - 1)
    before = await kept.current()
    await clock.advance(2)

    assert before.access_key_id == "AK1"
    assert (await kept.current()).access_key_id == "AK2"


async def test_keys_that_have_ended_are_looked_for_again_and_again_but_not_all_the_time(
    vault: Vault, clock: ManualClock
) -> None:
    vault.value = AwsKeys("AK1", "first-secret", "token", clock.now() - timedelta(hours=1))
    kept = KeptSecret("lake/keys", vault.read, clock, refresh_seconds=300.0)
    for _ in range(100):
        await kept.current()
        await clock.advance(0.1)

    assert 5 < vault.reads < 15


async def test_while_the_vault_is_away_what_is_known_is_used_on(
    kept: KeptSecret[AwsKeys], vault: Vault, clock: ManualClock
) -> None:
    first = await kept.current()
    vault.away = True
    await clock.advance(301)
    during = [await kept.current() for _ in range(10)]
    reads = vault.reads
    vault.away, vault.value = False, AwsKeys("AK2", "second-secret")
    await clock.advance(61)

    assert set(during) == {first}
    assert reads == 2
    assert await kept.current() == vault.value


async def test_without_any_value_the_reason_is_told_and_the_next_call_tries_again(
    kept: KeptSecret[AwsKeys], vault: Vault
) -> None:
    vault.away = True
    with pytest.raises(Unavailable):
        await kept.current()
    vault.away = False

    assert await kept.current() == vault.value


def test_what_is_written_reads_back() -> None:
    keys = AwsKeys("AK", "secret", "token", ManualClock().now())
    login = KafkaLogin("streamer", "secret")

    assert parse_keys(keys_text(keys), "x") == keys
    assert parse_login(login_text(login), "x") == login


@pytest.mark.parametrize(
    "text",
    [
        '{"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "hunter2hunter2"}',
        '{"AccessKeyId": "AK", "SecretAccessKey": "hunter2hunter2"}',
        '{"access-key": "AK", "secret-key": " hunter2hunter2 ", "other": 5}',
    ],
)
def test_names_as_other_tools_write_them_are_taken(text: str) -> None:
    assert parse_keys(text, "x") == AwsKeys("AK", "hunter2hunter2")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("AK:hunter2hunter2", "not a JSON object"),
        ('["hunter2hunter2"]', "not a JSON object"),
        ('{"secret_access_key": "hunter2hunter2"}', "lacks access_key_id"),
        ('{"access_key_id": "AK", "secret_access_key": ""}', "lacks secret_access_key"),
        ('{"access_key_id": "AK", "secret_access_key": "s", "expiration": "hunter2hunter2"}', "not a time"),
    ],
)
def test_a_secret_that_is_none_is_refused_without_repeating_it(text: str, part: str) -> None:
    with pytest.raises(Invalid, match=part) as error:
        parse_keys(text, "lake/keys")

    assert "hunter2" not in f"{error.value} {error.value.hint} {error.value.context}"
    assert error.value.context["secret"] == "lake/keys"


def test_neither_keys_nor_logins_show_themselves() -> None:
    shown = f"{AwsKeys('AKIA1', 'hunter2hunter2', 'token')!r} {KafkaLogin('me', 'hunter2hunter2')!r}"

    assert not any(text in shown for text in ("hunter2", "AKIA1", "token", "'me'"))
