"""Queries that are built once and run with other values: Peewee takes many times as long to build one as to run it.

Whoever reads a flow need not know this. `@compiled` stands above a function that returns a Peewee query about its
arguments, and whoever calls it is given what the query finds, or how many rows it has changed."""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import peewee

from database import store


class _Place(NamedTuple):
    """Where in a statement an argument goes; where it is a list, which member of it."""

    argument: int | str
    member: int | None = None


def compiled(build: Callable[..., Any]) -> Callable[..., Any]:
    """Run the query that `build` returns, with the arguments as its values: numbers, text, bytes, None and lists of
    those, as the database has them.

    `build` is called once for each database and each shape of its arguments, with stand-ins for the values, so that it
    must decide nothing by them but whether one is None and how long a list is. Return the rows that are found, in the
    form that the query says, or the number of rows that were changed."""

    @wraps(build)
    def run(*values: Any, **named: Any) -> Any:
        current, given = store(), dict[Any, Any](enumerate(values)) | named
        shape = build, *((argument, _shape(value)) for argument, value in given.items())
        if shape not in current.statements:
            parts = {argument: _stand_in(argument, value) for argument, value in given.items()}
            query = build(*(parts[number] for number in range(len(values))), **{name: parts[name] for name in named})
            current.statements[shape] = query, *query.bind(current.database).sql()
        query, sql, places = current.statements[shape]
        cursor = current.database.execute_sql(sql, [_value(place, given) for place in places])  # type: ignore[no-untyped-call]
        if isinstance(query, peewee.Select) or query._return_cursor:
            return list(query._get_cursor_wrapper(cursor))
        return query.handle_result(current.database, cursor)

    return run


def _shape(value: Any) -> Any:
    return len(value) if isinstance(value, list) else "null" if value is None else "value"


def _stand_in(argument: int | str, value: Any) -> Any:
    if isinstance(value, list):
        return [peewee.Value(_Place(argument, member), converter=False, unpack=False) for member in range(len(value))]
    return None if value is None else peewee.Value(_Place(argument), converter=False, unpack=False)


def _value(place: Any, given: dict[int | str, Any]) -> Any:
    value = given[place.argument] if isinstance(place, _Place) else place  # which else is a constant of the query
    return value[place.member] if isinstance(place, _Place) and place.member is not None else value
