"""The schema reaches head by itself, once."""

from engine.store import migrations


def test_an_opened_database_is_at_head(database):
    with database.connect() as conn:
        assert migrations.current(conn) == migrations.head() is not None


def test_migrating_again_changes_nothing(database, space):
    tables = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'i')"
    with database.begin() as conn:
        before = conn.exec_driver_sql(tables).scalar_one()
        migrations.upgrade(conn)
        assert conn.exec_driver_sql(tables).scalar_one() == before
        assert migrations.current(conn) == migrations.head()
