"""Let the application make and drop days of usage without owning the table; shut the days."""

from alembic import op

revision = "usage_0002"
down_revision = "usage_0001"
branch_labels = None
depends_on = "core_0002"

# A day is read through its parent, whose policy holds. By itself it has no policy, which is to say
# that nobody sees anything in it.
FUNCTIONS = """
CREATE FUNCTION yumen_shut_usage_day(day regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', day);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', day);
END $$;
CREATE FUNCTION yumen_add_usage_day(day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    name text := 'usage_events_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF usage_events FOR VALUES FROM (%L) TO (%L)',
            name, day, day + 1);
        PERFORM yumen_shut_usage_day(name);
    END IF;
END $$;
CREATE FUNCTION yumen_drop_usage_days(before date) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    name text;
    dropped integer := 0;
BEGIN
    FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits
        WHERE inhparent = 'usage_events'::regclass
        AND inhrelid::regclass::text < 'usage_events_' || to_char(before, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %s', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
REVOKE EXECUTE ON FUNCTION yumen_shut_usage_day, yumen_add_usage_day, yumen_drop_usage_days
    FROM PUBLIC;
SELECT yumen_shut_usage_day(inhrelid) FROM pg_inherits WHERE inhparent = 'usage_events'::regclass;
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.get_bind().exec_driver_sql(FUNCTIONS.replace("%", "%%"))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION yumen_shut_usage_day, yumen_add_usage_day, yumen_drop_usage_days")
