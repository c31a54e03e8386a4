"""Bytes become rows of an Arrow table, or dead letters. Pure: no clock, no store, no state between calls.

There are two ways, and they accept exactly the same records and give exactly the same rows. `columnar.py` parses many
records at once and declines whatever it is not sure of; `one_by_one.py` is slower, and is the definition. Property
tests hold them together. This is what the definition says.

**Documents.** A value that is null is a dead letter `tombstone`; one without bytes or with white space only is `empty`;
one that is not UTF-8 is `invalid_utf8`. Then it must be one JSON document as RFC 8259 has it: no NaN or Infinity, no
lone surrogates, no byte order mark, no second document, no deeper nesting than 128, else `invalid_json`. A document
that is no object is `not_an_object`. White space around it is fine. Where an object names a field twice, the last one
counts.

**Fields.** A column takes the field of its own name, else the first of its aliases that is there. null counts as
absent. The fields that were not taken although they are named by some column stay in `extra` (null ones do not). A
required column without a value is `missing_field`. Where several columns have something wrong, the first in the
layout's order is reported.

**Numbers** are JSON numbers, or JSON strings of the form `[+-]digits[.digits][e[+-]digits]` (either run of digits may
be missing, not both): no blanks, underscores, hexadecimal, NaN. `float64` and `float32` take the nearest value, what
rounds to infinity is `out_of_range`. Integers and `decimal128` are exact: `1.0` and `1e3` are integers, `1.5` is
`wrong_type`; more integer digits than the column holds are `out_of_range`, more fractional digits (not zeros) are
`wrong_type`.

**Other types.** `string` takes JSON strings, and JSON numbers with their exact text (`1.10` stays `1.10`). `binary`
takes the UTF-8 bytes of a JSON string. `bool` is true or false. `date32` is the string `YYYY-MM-DD`. Lists take arrays
of what their elements take, and null. `map<string, float64>` takes an object of numbers; its null members are skipped,
its keys ascend. Anything else is `wrong_type`, an impossible date `bad_timestamp`.

**Levels** of an order book are an array; each level an array that begins with price and quantity, or an object with one of
their names (`schemas.LEVEL_FIELDS`, the first that is not null). Both must be there and convert; what is wrong is reported
with its place (`bids[3].price`), more than 10,000 levels are `out_of_range`. Whatever else levels have is an unknown field
under the name of the side: one array or object for each level.

**Timestamps** are ISO 8601 strings `YYYY-MM-DD[(T| )hh[:mm[:ss[.fffffffff]]][Z|±hh[[:]mm]]]`, without zone UTC, or
epoch numbers (also as strings) with their unit by magnitude: below 1e11 seconds, 1e14 milliseconds, 1e17 microseconds,
else nanoseconds. Digits beyond the column's resolution are cut off (towards the past). Before 1970-01-01 or after
2262-04-11T23:47:16.854775807, and whatever is not a time, is `bad_timestamp`. The column `timestamp` falls back to
Kafka's time, where the layout says so and Kafka has one.

**Unknown fields** go to `extra`, as one compact JSON object with the exact source text of each value, in the order of
the message (a field named twice: the place of its first, the value of its last); null where there are none. With
`unknown = "drop"` they are dropped, and those that are not null are counted.

**Features.** Where the message has an object under `features` (or an alias), the numbers in it are the features, and
other unknown fields of the message go to `extra`; what is not a number in it goes to `extra` too, under `features`.
Otherwise every unknown field that is a number is a feature, the rest goes to `extra`. Declared columns are looked for
in the message first, then inside `features`. Null features are skipped, keys ascend, a message without any has an empty
map, more than 512 are `too_many_features`.

**Rules** are applied to finished rows, in the order of the layout; a null passes. Symbols are not altered here, and an
empty string is a value.
"""
