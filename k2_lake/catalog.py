"""Opening the lake: the Iceberg catalog, the warehouse and their settings.

SQLite by default, PostgreSQL for more than one machine; a folder by default, any S3-compatible
store by its URL.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from k2_lake.evolution import migrated
from k2_lake.faults import DAMAGED, broken_table, opening
from k2_lake.store import catalog_uri, speak_plainly, store_properties, without_password
from k2_lake.tables import KEY, PROPERTIES, TABLES, TableDef, iceberg_schema, table_def
from k2_market.errors import UsageError

CATALOG_NAME = "k2"
RACES = 3


@dataclass(frozen=True)
class LakeSettings:
    """Where the lake is. ``store`` holds PyIceberg's file-store properties (endpoint, region).

    Its ``repr`` shows no password and no credentials; ``catalog_uri`` itself may hold a password.
    """

    home: Path
    catalog_uri: str = field(repr=False)
    warehouse: str
    store: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, env: Mapping[str, str], home: Path | None = None) -> LakeSettings:
        """Settings from K2_HOME, K2_CATALOG_URI, K2_WAREHOUSE, K2_S3_* and AWS_* variables.

        An explicit ``home`` wins over K2_HOME. Credentials come from the environment alone.
        Raises UsageError for a home whose path cannot stand in a URL, and for addresses that are
        none.
        """
        where = (home or Path(env.get("K2_HOME", ".k2"))).absolute()
        if set("?#%") & set(str(where)):
            raise UsageError(f"the home {str(where)!r} has ?, # or % in its path. Choose another.")
        return cls(
            home=where,
            catalog_uri=catalog_uri(
                env.get("K2_CATALOG_URI") or f"sqlite:///{where}/catalog.db?timeout=30"
            ),
            warehouse=env.get("K2_WAREHOUSE") or f"file://{where}/warehouse",
            store=store_properties(env),
        )

    @property
    def shown_catalog(self) -> str:
        """The address of the catalog without its password."""
        return without_password(self.catalog_uri)


@dataclass(frozen=True)
class Lake:
    """The tables of one warehouse. Tables are created when first asked for."""

    settings: LakeSettings

    @cached_property
    def catalog(self) -> SqlCatalog:
        """The Iceberg catalog. Raises LakeUnavailable when it cannot be opened."""
        speak_plainly(self.settings.store)
        with opening("the catalog"):
            self._prepare_sqlite()
            catalog = self._opened()
            # PyIceberg closes nothing by itself, and Python 3.13 complains of what stays open.
            weakref.finalize(catalog, catalog.engine.dispose)
            for namespace in sorted({t.namespace for t in TABLES.values()}):
                with suppress(IntegrityError):
                    catalog.create_namespace_if_not_exists(namespace)
        return catalog

    @property
    def io(self) -> PyArrowFileIO:
        """What reads the warehouse's files, with its credentials: for engines."""
        return PyArrowFileIO(dict(self.settings.store))

    def table(self, name: str) -> Table:
        """The table as it is now, to be written, with the columns that its record has gained.

        It is created empty if it does not exist yet. Raises UnknownName, SchemaMismatch where the
        record has changed in another way, LakeUnavailable when the catalog or the store cannot be
        read, FileBroken when the table's metadata file is missing or damaged.
        """
        definition = table_def(name)
        table = self.existing(name)
        with opening(name):
            return self._create(definition) if table is None else migrated(table, definition)

    def existing(self, name: str) -> Table | None:
        """The table as it is now, None if it was never made. Raises as ``table`` does."""
        catalog = self.catalog
        with opening(name):
            try:
                return catalog.load_table(name)
            except NoSuchTableError:
                return None
            except (FileNotFoundError, *DAMAGED) as error:
                raise broken_table(name, self.metadata_location(name), error) from error

    def metadata_location(self, name: str) -> str | None:
        """Where the catalog says that the table's metadata is, None if it knows no such table."""
        namespace, table = name.split(".")
        wanted = select(IcebergTables.metadata_location).where(
            IcebergTables.catalog_name == CATALOG_NAME,
            IcebergTables.table_namespace == namespace,
            IcebergTables.table_name == table,
        )
        with opening(name), Session(self.catalog.engine) as session:
            found: str | None = session.execute(wanted).scalar()
        return found

    def _opened(self) -> SqlCatalog:
        """The catalog, its own tables made; others may open a new one at this very moment."""
        for _ in range(RACES):
            # Each race is lost over one of its tables, which then is there.
            with suppress(IntegrityError, OperationalError, ProgrammingError):
                return self._connect()
        return self._connect()

    def _connect(self) -> SqlCatalog:
        return SqlCatalog(
            CATALOG_NAME,
            uri=self.settings.catalog_uri,
            warehouse=self.settings.warehouse,
            **self.settings.store,
        )

    def _create(self, definition: TableDef) -> Table:
        schema = iceberg_schema(definition)
        fields = [
            PartitionField(
                schema.find_field(column).field_id,
                PARTITION_FIELD_ID_START + i,
                IdentityTransform(),
                column,
            )
            for i, column in enumerate(definition.partition_columns)
        ]
        return self.catalog.create_table_if_not_exists(
            definition.name,
            schema,
            partition_spec=PartitionSpec(*fields),
            properties={**PROPERTIES, KEY: definition.key_property, "comment": definition.doc},
        )

    def _prepare_sqlite(self) -> None:
        path = self.settings.catalog_uri.removeprefix("sqlite:///").split("?")[0]
        if path == self.settings.catalog_uri:
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            # Readers must not block the writer; the mode is kept in the file.
            connection.execute("pragma journal_mode=wal")
