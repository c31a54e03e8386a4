"""The section of the kinds of documents: where their keys are, and what their data must be. The rules are those of streams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from streamer.config.quality import SEQUENCES, QualityRuleSection, check_rule_names
from streamer.config.sections import OptionalText, Section
from streamer.config.values import TextList, parse_rule
from streamer.docstore.kinds import BUILT_IN, Kind, declared
from streamer.docstore.schema import DocumentSchema
from streamer.errors import Invalid
from streamer.layout import Column, Rule

if TYPE_CHECKING:
    from streamer.config.settings import Settings

KIND_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
CHECKS = ("required", "range", "allowed", "crossed")


class KindSection(Section):
    """One kind of documents. What breaks a rule is refused by `put`. docs/documents.md"""

    template: OptionalText = Field(
        default=None,
        description="Its keys: `alerts/{desk}/{Y}/{m}/{d}/{timestamp}.json`. Not set: that of the built-in kind of this name.",
    )
    fields_: dict[str, str] = Field(
        default_factory=dict, alias="schema", description="Fields with a type, `name = Arrow type`. Others may be anything."
    )
    rules: TextList = Field(default=(), description='What must hold of each object, such as `"price > 0"`. A null passes.')
    quality: dict[str, QualityRuleSection] = Field(
        default_factory=dict,
        description="Rules with names, as of streams: `required`, `range`, `allowed`, `crossed`, without `on_violation`.",
    )

    @model_validator(mode="after")
    def _can_be_executed(self) -> Self:
        check_rule_names(self.quality)
        try:
            _ = self.schema_, self.template is not None and declared(self.template)
        except Invalid as error:
            raise ValueError(f"{error.message}; {error.hint}") from None
        return self

    @property
    def schema_(self) -> DocumentSchema | None:
        """What the data must be; None: anything. Raises `Invalid`, also where a rule is none for documents."""
        if not (self.fields_ or self.rules or self.quality):
            return None
        from streamer.config.quality_rules import quality_rules

        for name, rule in self.quality.items():
            if rule.check not in CHECKS:
                why = "compares records in their order" if rule.check in SEQUENCES else "needs Kafka's time"
                raise Invalid(f"quality.{name}: {rule.check} {why}", hint=f"documents take {', '.join(CHECKS)}")
            if "on_violation" in rule.model_fields_set:
                raise Invalid(f"quality.{name}: a document is refused or kept", hint="leave on_violation out")
        columns = tuple(Column(name, kind) for name, kind in self.fields_.items())
        rules = tuple(Rule(*parse_rule(rule)) for rule in self.rules)
        return DocumentSchema(columns, rules, quality_rules(self.quality).checks)

    def made(self, name: str) -> Kind:
        """The kind that is called `name`. Raises `Invalid`."""
        return Kind(declared(self.template) if self.template is not None else BUILT_IN[name], self.schema_)


class DocumentsSection(Section):
    """Documents, `lake.documents`."""

    kinds: dict[str, KindSection] = Field(
        default_factory=dict, description="Kinds beside the built-in ones, or what is other about one of those."
    )

    @model_validator(mode="after")
    def _kinds_have_names_and_templates(self) -> Self:
        for name, kind in self.kinds.items():
            if not KIND_NAME.fullmatch(name):
                raise ValueError(
                    f"kinds.{name[:80]}: the name of a kind begins with a lower-case letter, and has up to 64 "
                    "lower-case letters, digits, hyphens and underscores"
                )
            if kind.template is None and name not in BUILT_IN:
                raise ValueError(f"kinds.{name} needs a template: it is none of the built-in kinds, {', '.join(BUILT_IN)}")
            try:
                kind.made(name)
            except Invalid as error:
                raise ValueError(f"kinds.{name}: {error.message}; {error.hint}") from None
        return self


def document_kinds(settings: Settings) -> dict[str, Kind]:
    """The kinds of this configuration."""
    return {name: section.made(name) for name, section in settings.documents.kinds.items()}


def document_schema(
    schema: Mapping[str, str], rules: Iterable[str], quality: Mapping[str, Mapping[str, Any]]
) -> DocumentSchema | None:
    """What programs say as the configuration would; None where they say nothing. Raises `Invalid`."""
    body = {"schema": dict(schema), "rules": [rules] if isinstance(rules, str) else list(rules), "quality": dict(quality)}
    try:
        return KindSection.model_validate(body).schema_
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in found["loc"])
        why = str(found.get("ctx", {}).get("error", found["msg"]))
        raise Invalid(f"{where}: {why}" if where else why, hint="docs/documents.md has examples of schemas and rules") from None
