"""Whether a value is what its annotations say, all the way down: a document that was accepted must be safe to work with."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


def assert_typed(value: Any, kind: Any = None, where: str = "it") -> None:
    """Every field of the frozen dataclass `value`, and of those within, has the type that it declares."""
    kind = type(value) if kind is None else kind
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return None
    if origin in (Union, types.UnionType):
        for each in arguments:
            try:
                assert_typed(value, each, where)
            except AssertionError:
                continue
            return None
        raise AssertionError(f"{where} is {value!r}, none of {arguments}")
    if origin is Annotated:
        return assert_typed(value, arguments[0], where)
    if origin is Literal:
        assert any(value == each and type(value) is type(each) for each in arguments), f"{where} is {value!r}"
    elif origin is tuple:
        assert type(value) is tuple, f"{where} is {value!r}"
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        for number, (each, its) in enumerate(zip(value, inner, strict=True)):
            assert_typed(each, its, f"{where}[{number}]")
    elif origin is not None and issubclass(origin, Mapping):
        assert isinstance(value, Mapping), f"{where} is {value!r}"
        for name, each in value.items():
            assert_typed(name, arguments[0], f"a name in {where}")
            assert_typed(each, arguments[1], f"{where}[{name!r}]")
    elif is_dataclass(kind):
        assert isinstance(value, kind), f"{where} is {value!r}"
        hints = get_type_hints(kind)
        for field in fields(kind):
            assert_typed(getattr(value, field.name), hints[field.name], f"{where}.{field.name}")
    elif kind is float:
        assert type(value) in (int, float), f"{where} is {value!r}"
    elif kind is type(None):
        assert value is None, f"{where} is {value!r}"
    elif isinstance(kind, type) and issubclass(kind, tuple):  # a NamedTuple
        assert type(value) is kind, f"{where} is {value!r}"
        for name, its in get_type_hints(kind).items():
            assert_typed(getattr(value, name), its, f"{where}.{name}")
    else:
        assert type(value) is kind, f"{where} is {value!r}, not {kind}"
        if kind is datetime:
            assert value.tzinfo is not None, f"{where} is {value!r}, without a time zone"
    return None
