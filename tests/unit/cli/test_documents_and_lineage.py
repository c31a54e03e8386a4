"""`streamer documents` and `streamer lineage`: what an operator and a script see of documents and where they came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Ended, Shell

AT = "2026-01-03T10:00:00"


@pytest.fixture
def documents(shell: Shell, tmp_path: Path) -> Shell:
    """`documents("list", "portfolio")`: run `streamer documents list portfolio` on a lake."""
    (tmp_path / "lake").mkdir()
    (tmp_path / "data.json").write_text('{"BTC": 1.5}')

    def run(*arguments: str, **environment: str) -> Ended:
        return shell("documents", *arguments, "--lake", "./lake", **environment)

    return run


def test_put_list_show_latest_and_delete_tell_the_same_story(documents: Shell) -> None:
    put = documents("put", "portfolio", "data.json", "--field", "user_id=a/b", "--at", AT, "--tag", "desk=fx", "--tag", "live")
    key = put.out.strip()

    assert key == "user-data/a%2Fb/portfolio/2026/01/03/2026-01-03T10-00-00-000000.json"
    (listed,) = json.loads(documents("list", "portfolio", "--json").out)
    assert (listed["key"], listed["fields"], listed["version"]) == (key, {"user_id": "a/b"}, 1)
    assert documents("list", "portfolio", "-f", "user_id=a/b", "--start", "2026-01-04").out == "at\tversion\tbytes\tkey\n"
    assert documents("list", "portfolio").out.splitlines()[1].startswith("2026-01-03T10:00:00.000000Z\t1\t11\tuser-data/")
    assert json.loads(documents("show", key).out) == {"BTC": 1.5}
    shown = json.loads(documents("latest", "portfolio", "-f", "user_id=a/b", "--json").out)
    assert (shown["data"], shown["tags"], shown["derivation"]) == ({"BTC": 1.5}, {"desk": "fx", "live": ""}, None)
    assert documents("delete", key, "--yes").status == 0
    assert documents("show", key).status == 1
    assert documents("delete", key, "--yes").status == 1


def test_text_and_bytes_are_printed_as_they_are(documents: Shell) -> None:
    Path("a.log").write_text("line\nnext\n")
    Path("a.pdf").write_bytes(b"\x00\xff")

    log = documents("put", "log", "a.log", "-f", "log_type=app", "--packing", "zstd").out.strip()
    report = documents("put", "report", "a.pdf", "-f", "ticker=BTC", "--at", AT).out.strip()

    assert documents("show", log).out == "line\nnext\n"
    assert json.loads(documents("show", report, "--json").out)["data"] == "AP8="


def test_kinds_are_those_of_the_configuration_and_their_rules_hold(documents: Shell, shell: Shell) -> None:
    Path("streamer.toml").write_text(
        '[documents.kinds.alert]\ntemplate = "alerts/{desk}/{timestamp}.json"\nschema = { price = "float64" }\n'
        'rules = ["price > 0"]\n'
    )
    Path("bad.json").write_text('[{"price": 1}, {"price": -1}]')

    kinds = {kind["kind"]: kind for kind in json.loads(shell("documents", "kinds", "--json").out)}
    refused = documents("put", "alert", "bad.json", "-f", "desk=fx", "--json")

    assert kinds["alert"] == {
        "kind": "alert", "template": "alerts/{desk}/{timestamp}.json", "fields": ["desk"], "schema": {"price": "float64"},
        "rules": ["price > 0"], "configured": True,
    }  # fmt: skip
    assert kinds["portfolio"]["configured"] is False
    assert "alert\talerts/{desk}/{timestamp}.json\tprice float64\tprice > 0" in shell("documents", "kinds").out
    assert refused.status == 2
    error = json.loads(refused.err)["error"]
    assert (error["context"]["field"], error["context"]["row"]) == ("price", 1)
    assert "price > 0 is false for -1" in error["message"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "nothing"), "no kind of documents"),
        (("list", "portfolio", "-f", "user"), "is no field"),
        (("list", "portfolio", "-f", "user=1"), "there is no user"),
        (("list", "portfolio", "-f", "at=1"), "is no field"),
        (("put", "portfolio", "none.json", "-f", "user_id=1"), "cannot be read"),
        (("put", "portfolio", "bad.txt", "-f", "user_id=1"), "not JSON"),
        (("put", "portfolio", "data.json", "-f", "user_id=1", "--packing", "lz4"), "no packing"),
        (("put", "portfolio", "data.json", "-f", "user_id=1", "--source", "x"), "what computed"),
        (("show", "raw/ticks/x"), "no kind of documents has such keys"),
    ],
)
def test_what_cannot_be_is_refused(documents: Shell, arguments: tuple[str, ...], message: str) -> None:
    Path("bad.txt").write_text("{")

    ended = documents(*arguments)

    assert ended.status == 2
    assert message in ended.err


def test_the_lineage_of_a_document_is_a_tree_and_json(documents: Shell, shell: Shell) -> None:
    source = documents("put", "trades", "data.json", "-f", "symbol=BTC", "--at", AT).out.strip()
    made = documents(
        "put", "processed", "data.json", "-f", "computation=percentiles", "-f", "ticker=BTC", "--at", AT,
        "--source", source, "--computation-version", "1.4.2",
    ).out.strip()  # fmt: skip

    tree = shell("lineage", made, "--lake", "./lake")
    graph = json.loads(shell("lineage", made, "--lake", "./lake", "--json").out)

    assert tree.status == 0
    first, second = tree.out.splitlines()
    assert first.startswith(f"{made}  document, percentiles 1.4.2, 20")
    assert second == f"└── {source}  object  [unchanged]"
    assert [node["key"] for node in graph["nodes"]] == [made, source]
    assert graph["nodes"][0]["sources"][0]["state"] == "unchanged"
    shown = json.loads(documents("show", made, "--json").out)
    assert shown["derivation"]["sources"][0]["key"] == source
    assert shown["tags"] == {"computation": "percentiles", "computation_version": "1.4.2"}

    Path("lake", source).write_text("{}")
    assert "[changed]" in shell("lineage", made, "--lake", "./lake").out
    documents("delete", source, "--yes")
    assert "[gone]" in shell("lineage", made, "--lake", "./lake").out
    assert "there is more" in shell("lineage", made, "--lake", "./lake", "--depth", "0").err


def test_a_lineage_that_cannot_be_read_has_a_status_of_its_own(documents: Shell, shell: Shell) -> None:
    assert shell("lineage", "analytics/none.json", "--lake", "./lake").status == 1
    assert shell("lineage", "../x", "--lake", "./lake").status == 2
    Path("lake/archive").mkdir()
    Path("lake/archive/2026-01-03.json").write_text("{}")

    ended = shell("lineage", "archive/2026-01-03.json", "--lake", "./lake")

    assert ended.status == 5
    assert "not a certificate" in ended.out
    assert (
        documents("put", "analytics", "data.json", "-f", "report_type=x", "--computation", "x", "--source", "none").status == 1
    )


def test_the_policy_of_a_writer_has_the_kinds_of_the_configuration(shell: Shell) -> None:
    Path("streamer.toml").write_text('[documents.kinds.alert]\ntemplate = "alerts/{desk}/new/{Y}/{timestamp}.json"\n')

    statements = json.loads(shell("policy", "writer", "--lake", "s3://microstream-data/lake").out)["Statement"]

    (write,) = [statement for statement in statements if statement["Sid"] == "Write"]
    keys = [resource.removeprefix("arn:aws:s3:::microstream-data/lake/") for resource in write["Resource"]]
    assert {"alerts/*/new/*.json*", "user-data/*/portfolio/*.json*", "_streamer/lineage/*", "bundles/*", "cache/*"} <= set(keys)
    assert [key for key in keys if key.startswith("raw/")] == ["raw/*.json", "raw/*.json.gz", "raw/*.json.zst"]
    assert not {"raw/*", "*", "models/*", "_streamer/*"} & set(keys)
    assert "Delete" not in {statement["Sid"] for statement in statements}
