"""Kinds of documents come from the configuration: file, variables, command line and `Lake.from_env` know the same ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer import Lake
from streamer.config import load
from streamer.config.documents import document_kinds
from streamer.errors import Invalid

TOML = """
[documents.kinds.alert]
template = "alerts/{desk}/{Y}/{m}/{d}/{timestamp}.json"
rules = ["price > 0"]
[documents.kinds.alert.schema]
price = "float64"
[documents.kinds.alert.quality.known_side]
check = "allowed"
column = "side"
values = ["buy", "sell"]

[documents.kinds.portfolio.schema]
BTC = "float64"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_declares_kinds_and_says_what_is_other_about_built_in_ones(here: Path) -> None:
    (here / "streamer.toml").write_text(TOML.replace('price = "float64"', 'price = "float64"\nside = "string"'))

    kinds = document_kinds(load(lake="./lake", environment={}))

    assert kinds["alert"].template.text == "alerts/{desk}/{Y}/{m}/{d}/{timestamp}.json"
    assert kinds["portfolio"].template.text.startswith("user-data/{user_id}/portfolio/")
    schema = kinds["alert"].schema
    assert schema is not None
    assert [check.name for check in schema.checks] == ["known_side"]
    assert [str(rule) for rule in schema.rules] == ["price > 0"]


def test_a_variable_declares_one_too(here: Path) -> None:
    variables = {"STREAMER__DOCUMENTS__KINDS__ALERT__TEMPLATE": "alerts/{desk}/{timestamp}.txt"}

    assert document_kinds(load(lake="./lake", environment=variables))["alert"].template.text == "alerts/{desk}/{timestamp}.txt"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (TOML, "there is no column 'side'"),
        ('[documents.kinds.alert]\nschema = { price = "float64" }', "needs a template"),
        ('[documents.kinds."A b"]\ntemplate = "a/{timestamp}.json"', "the name of a kind"),
        ('[documents.kinds.alert]\ntemplate = "ticks/{timestamp}.json"', "cannot lie below ticks/"),
        ('[documents.kinds.alert]\ntemplate = "alerts/{desk}.json"', "no template of keys"),
        ('[documents.kinds.alert]\ntemplate = "alerts/{sources}/{timestamp}.json"', "no template of keys"),
        ('[documents.kinds.log.schema]\na = "string"', "only documents in JSON have fields"),
        ('[documents.kinds.alert]\ntemplate = "a/{timestamp}.txt"\nschema = { a = "string" }', "only documents in JSON"),
        ('[documents.kinds.alert]\ntemplat = "a/{timestamp}.txt"', "did you mean template"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(here: Path, toml: str, message: str) -> None:
    (here / "streamer.toml").write_text(toml)

    with pytest.raises(Invalid) as refused:
        load(lake="./lake", environment={})

    assert message in refused.value.message
    assert refused.value.message.startswith(("documents", "unknown name documents"))
    assert "streamer.toml" in refused.value.message


@pytest.mark.parametrize("given", [True, False])
def test_a_lake_of_the_environment_knows_the_kinds_of_the_configuration(here: Path, given: bool) -> None:
    file = here / ("other.toml" if given else "streamer.toml")
    file.write_text('[documents.kinds.alert]\ntemplate = "alerts/{desk}/{timestamp}.json"\nschema = { price = "float64" }\n')

    with Lake.from_env({"LOCAL_STORAGE_PATH": "./lake", "ENABLE_CACHE": "false"}, config=file if given else None) as lake:
        assert lake.documents.put("alert", {"price": 1}, desk="fx").key.startswith("alerts/fx/")
        with pytest.raises(Invalid, match="price"):
            lake.documents.put("alert", {"price": "x"}, desk="fx")


def test_a_lake_of_the_environment_needs_no_configuration(here: Path) -> None:
    with Lake.from_env({"LOCAL_STORAGE_PATH": "./lake", "ENABLE_CACHE": "false", "STREAMER__NONSENSE": "1"}) as lake:
        assert "alert" not in lake.documents.kinds
