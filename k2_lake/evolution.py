"""Whether the columns of a table can become those of its record, and the commit that makes it so.

A lake outlives the records that it was written with. A nullable column may be added, at any place,
and a required one may become nullable: what is stored stays as it is, and old files read as null.
Everything else would make stored rows mean something else and is refused before anything is
written. See docs/schema-evolution.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.update.schema import UpdateSchema
from pyiceberg.types import IcebergType, ListType, MapType, NestedField

from k2_lake.commit import retry_conflicts
from k2_lake.tables import KEY, TableDef, iceberg_schema
from k2_market.errors import CommitConflict, SchemaMismatch


@dataclass(frozen=True)
class Change:
    """What would make a table that of its record, and why it must not be made so.

    ``reading`` are the refusals that concern readers too: a table with a column that the record
    does not know can be read without it, but writing it would leave the column empty.
    """

    definition: TableDef
    added: tuple[str, ...] = ()
    relaxed: tuple[str, ...] = ()
    moved: bool = False
    reading: tuple[str, ...] = ()
    writing: tuple[str, ...] = ()

    def refuse(self) -> None:
        """Raise SchemaMismatch if it must not be made."""
        _refuse(self.definition, (*self.reading, *self.writing))

    @property
    def is_needed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.added or self.relaxed or self.moved)

    @property
    def told(self) -> str:
        """What would be done, in words; empty where nothing."""
        parts = [f"{name} is added" for name in self.added]
        parts += [f"{name} may be null" for name in self.relaxed]
        return ", ".join(parts or (["the columns change places"] if self.moved else []))


def change(table: Table, definition: TableDef) -> Change:
    """How the table differs from its record. Descriptions may differ: they are no difference."""
    stored, wanted = _columns(table.schema()), _wanted(definition)
    record = definition.record
    added = tuple(name for name in wanted if name not in stored)
    both = [name for name in wanted if name in stored]
    fixed = {*record.key, *definition.partition_columns}
    return Change(
        definition,
        added=added,
        relaxed=tuple(n for n in both if stored[n].required and not wanted[n].required),
        moved=bool(added) or [n for n in stored if n in wanted] != both,
        reading=(
            *(_required(record.name, wanted[n]) for n in added if wanted[n].required),
            *(
                told
                for n in both
                for told in _incompatible(record.name, stored[n], wanted[n], is_fixed=n in fixed)
            ),
        ),
        writing=(
            *(_unknown(record.name, field) for n, field in stored.items() if n not in wanted),
            *_identity(table, definition),
        ),
    )


def require_readable(table: Table, definition: TableDef) -> None:
    """Raise SchemaMismatch unless rows of the record can be read from the table as it is."""
    _refuse(definition, change(table, definition).reading)


@retry_conflicts
def migrated(table: Table, definition: TableDef) -> Table:
    """The table with the columns of its record, which are added to it where they are missing.

    Many may open a table at once: one of them changes it, the others find it changed. Raises
    SchemaMismatch, with nothing written, where rows of the record do not fit what is stored.
    """
    found = change(table, definition)
    found.refuse()
    if not found.is_needed:
        return table
    try:
        _commit(table, definition, found)
    except CommitFailedException as error:
        table.refresh()
        raise CommitConflict(f"{definition.name}: another writer committed first") from error
    return table


def later_columns(table: Table) -> Mapping[str, frozenset[int]]:
    """The columns that the table did not have at first, each with the ids of what files hold of it.

    A list or a map is held in files as its elements, which have ids of their own.
    """
    oldest = min(table.metadata.schemas, key=lambda schema: schema.schema_id)
    first = {field.field_id for field in oldest.fields}
    return {f.name: _leaves(f) for f in table.schema().fields if f.field_id not in first}


def _commit(table: Table, definition: TableDef, found: Change) -> None:
    wanted = _wanted(definition)
    with table.transaction() as transaction:
        with transaction.update_schema() as update:
            for name, field in wanted.items():
                if name in found.added:
                    update.add_column(name, field.field_type, field.doc)
                else:
                    update.update_column(name, doc=field.doc)
            for name in found.relaxed:
                update.make_column_optional(name)
            _order(update, list(wanted))
        transaction.set_properties({KEY: definition.key_property})


def _order(update: UpdateSchema, names: list[str]) -> None:
    update.move_first(names[0])
    for before, name in pairwise(names):
        update.move_after(name, before)


def _refuse(definition: TableDef, reasons: tuple[str, ...]) -> None:
    if reasons:
        raise SchemaMismatch(
            f"{definition.name} does not fit its record {definition.record.name}: "
            f"{'; '.join(reasons)}. Nothing was written. If a newer version of K2 wrote this lake, "
            "use that. If you changed the record, leave what it had as it was and give new columns "
            "new names, nullable (docs/schema-evolution.md); or begin a new home."
        )


def _required(record: str, field: NestedField) -> str:
    return (
        f"{record} requires the column {field.name} ({_shape(field.field_type)}), and the rows "
        "that are stored have no value for it"
    )


def _incompatible(
    record: str, stored: NestedField, wanted: NestedField, *, is_fixed: bool
) -> Iterator[str]:
    name, old, new = stored.name, _shape(stored.field_type), _shape(wanted.field_type)
    if old != new:
        yield f"the column {name} is stored as {old}, and {record} says {new}"
    if wanted.required and not stored.required:
        yield f"the column {name} may be null in what is stored, and {record} requires it"
    if is_fixed and stored.required and not wanted.required:
        yield f"the column {name} tells rows or partitions apart, and {record} lets it be null"


def _unknown(record: str, field: NestedField) -> str:
    return (
        f"the column {field.name} ({_shape(field.field_type)}) is stored, and {record} has none of "
        "that name: it was removed or renamed, or is not known yet"
    )


def _identity(table: Table, definition: TableDef) -> Iterator[str]:
    """What tells rows and partitions apart, which no column says."""
    stored = tuple(field.name for field in table.spec().fields)
    if stored != definition.partition_columns:
        yield _parted("partitioned", stored, definition.partition_columns)
    key = table.properties.get(KEY, definition.key_property)
    if key != definition.key_property:
        yield _parted("told apart", key.split(","), definition.record.key)


def _parted(how: str, stored: tuple[str, ...] | list[str], wanted: tuple[str, ...]) -> str:
    return (
        f"its rows are {how} by {', '.join(stored) or 'nothing'}, and now are to be by "
        f"{', '.join(wanted) or 'nothing'}"
    )


def _columns(schema: Schema) -> dict[str, NestedField]:
    return {field.name: field for field in schema.fields}


@cache
def _wanted(definition: TableDef) -> Mapping[str, NestedField]:
    return _columns(iceberg_schema(definition))


def _shape(kind: IcebergType) -> str:
    """The type in words; ids differ from table to table and do not count."""
    if isinstance(kind, ListType):
        return f"list<{_held(kind.element_type, kind.element_required)}>"
    if isinstance(kind, MapType):
        value = _held(kind.value_type, kind.value_required)
        return f"map<{_shape(kind.key_type)}, {value}>"
    return str(kind)


def _held(kind: IcebergType, required: bool) -> str:
    return _shape(kind) if required else f"{_shape(kind)} or null"


def _leaves(field: NestedField) -> frozenset[int]:
    ids: set[int] = set()
    # A schema of this one column numbers all that lies within it; those without children are held.
    one = Schema(field)
    for field_id in one.field_ids:
        kind = one.find_type(field_id)
        if kind.is_primitive:
            ids.add(field_id)
    return frozenset(ids)
