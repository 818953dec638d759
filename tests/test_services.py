"""The servers that tests lean on work."""

from __future__ import annotations

import boto3
import psycopg2
import pytest

from tests.services import S3Server


@pytest.mark.postgres
def test_each_test_has_an_empty_database_of_its_own(postgres_database: str) -> None:
    connection = psycopg2.connect(postgres_database.replace("+psycopg2", ""))
    cursor = connection.cursor()
    cursor.execute("select count(*) from information_schema.tables where table_schema = 'public'")
    assert cursor.fetchone() == (0,)
    connection.close()


@pytest.mark.s3
def test_the_store_returns_what_was_put_in(s3_server: S3Server) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name=s3_server.region,
    )
    bucket = s3_server.new_bucket()
    client.put_object(Bucket=bucket, Key="a/b", Body=b"exact")
    assert client.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"exact"
    client.close()
