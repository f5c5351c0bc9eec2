"""Queries that are built once and run with other values: Peewee takes many times as long to build one as to run it.

Whoever reads a flow need not know this. `@compiled` stands above a function that returns a Peewee query about its
arguments, and whoever calls it is given what the query finds, or how many rows it has changed."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from peewee import Database, Select, Value

from database import store


def compiled(build: Callable[..., Any]) -> Callable[..., Any]:
    """Run the query that `build` returns, with the arguments as its values: numbers, text, bytes, None and lists of
    the first three, as the database has them. Return the rows that are found, in the form that the query says, or the
    number of rows that were changed; an insert must say `as_rowcount()` or `returning(...)`.

    `build` is called once for each database and each shape of its arguments: whether one is None, how long a list is.
    It gets stand-ins, to be compared with columns or written: no `if`, no f-string, no LIKE is about a value."""

    @wraps(build)
    def run(*values: Any, **named: Any) -> Any:
        current, given = store(), dict[Any, Any](enumerate(values)) | named  # by position and by name
        shape = build, *((at, len(v) if isinstance(v, list) else str(v is None)) for at, v in given.items())
        if shape not in current.statements:
            parts = {at: _stand_in(at, value) for at, value in given.items()}
            query = build(*(parts[at] for at in range(len(values))), **{name: parts[name] for name in named})
            current.statements[shape] = _Statement(query, current.database)
        return current.statements[shape].run(current.database, given)

    return run


def _stand_in(at: int | str, value: Any) -> Any:
    """Return what tells, in place of the value, where it will be found among those that are given."""
    if isinstance(value, list):
        return [Value(lambda given, n=n: given[at][n], converter=False) for n in range(len(value))]
    return None if value is None else Value(lambda given: given[at], converter=False)


class _Statement:
    def __init__(self, query: Any, database: Database) -> None:
        self.query: Any = query.bind(database)
        self.reader: Any = None  # what makes models of rows: it takes longer to build than they do
        self.sql, self.params = self.query.sql()  # a param is a constant of the query, or a stand-in's function

    def run(self, database: Any, given: dict[Any, Any]) -> Any:
        cursor = database.execute_sql(self.sql, [each(given) if callable(each) else each for each in self.params])
        if not isinstance(self.query, Select) and not self.query._return_cursor:
            return self.query.handle_result(database, cursor)
        rows = cursor.fetchall()
        if rows and self.reader is None:
            reader = self.query._get_cursor_wrapper(cursor)
            reader.initialize()
            reader.cursor = None  # which is one connection's
            self.reader = reader  # last: other threads may use it from here on
        return [self.reader.process_row(row) for row in rows]
