"""Let a tenant's rows lie in a schema of its own: functions that divide tables and move rows."""

from alembic import op

revision = "core_0005"
down_revision = "core_0004"
branch_labels = None
depends_on = "core_0002"

# A divided table is partitioned by tenant. The tables that hold the rows bear its name, in the
# schema `shared` (the default partition) and in a schema for each tenant that has one.
DIVIDED = """
CREATE SCHEMA shared;
CREATE FUNCTION yumen_tenant_schema(tenant uuid) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 't_' || replace(tenant::text, '-', '');
CREATE VIEW yumen_divided_tables WITH (security_invoker = true) AS
    SELECT c.oid AS id, c.relname AS name, d.partdefid AS shared
    FROM pg_partitioned_table d JOIN pg_class c ON c.oid = d.partrelid
    WHERE c.relnamespace = 'public'::regnamespace AND d.partstrat = 'l' AND d.partdefid <> 0;
CREATE VIEW yumen_tenant_schemas WITH (security_invoker = true) AS
    SELECT s.oid AS id, s.nspname AS name, substr(s.nspname, 3)::uuid AS tenant,
        array(SELECT d.name FROM yumen_divided_tables d WHERE NOT EXISTS (
            SELECT FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = d.id
            WHERE c.relnamespace = s.oid AND c.relname = d.name)) AS lacks
    FROM pg_namespace s WHERE s.nspname ~ '^t_[0-9a-f]{32}$';
"""

# Constraints, indexes and policies keep their names, so that errors and plans read alike. Foreign
# keys are left to ATTACH: one that is there before has triggers on the table it refers to, and to
# take them away would need that table for itself.
COPY_TABLE = """
CREATE FUNCTION yumen_copy_table(source regclass, target text, clause text) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    name text := (SELECT relname FROM pg_class WHERE oid = source);
    full_name text := format('%I.%I', target, name);
    statement text;
BEGIN
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES) %s',
        full_name, source, clause);
    FOR statement IN
        SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s',
                full_name, conname, pg_get_constraintdef(oid))
            FROM pg_constraint WHERE conrelid = source AND contype IN ('p', 'u')
        UNION ALL SELECT replace(pg_get_indexdef(indexrelid),
                format(' ON %s ', source), format(' ON %s ', full_name))
            FROM pg_index WHERE indrelid = source AND NOT EXISTS (
                SELECT FROM pg_constraint WHERE conrelid = source AND conindid = indexrelid)
        UNION ALL SELECT format('CREATE POLICY %I ON %s USING (%s) WITH CHECK (%s)', polname,
                full_name, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
            FROM pg_policy WHERE polrelid = source
    LOOP
        EXECUTE statement;
    END LOOP;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', full_name);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', full_name);
END $$;
CREATE FUNCTION yumen_divide_table(name text) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    foreign_key text;
BEGIN
    EXECUTE format('ALTER TABLE public.%I SET SCHEMA shared', name);
    PERFORM yumen_copy_table(format('shared.%I', name), 'public', 'PARTITION BY LIST (tenant_id)');
    FOR foreign_key IN SELECT format('ALTER TABLE public.%I ADD CONSTRAINT %I %s',
            name, conname, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE conrelid = format('shared.%I', name)::regclass AND contype = 'f' AND conparentid = 0
    LOOP
        EXECUTE foreign_key;
    END LOOP;
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION shared.%I DEFAULT', name, name);
    PERFORM yumen_enter_schema(tenant) FROM yumen_tenant_schemas;
END $$;
CREATE FUNCTION yumen_unite_table(name text) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM yumen_tenant_schemas) THEN
        RAISE EXCEPTION 'tenants have schemas: move them back first';
    END IF;
    EXECUTE format('ALTER TABLE public.%I DETACH PARTITION shared.%I', name, name);
    EXECUTE format('DROP TABLE public.%I', name);
    EXECUTE format('ALTER TABLE shared.%I SET SCHEMA public', name);
END $$;
"""

# The checksum does not depend on the order of rows or of columns.
MOVING = """
CREATE FUNCTION yumen_lock_for_moving(tenant uuid) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    referred regclass;
BEGIN
    IF (tenant BETWEEN yumen_first_tenant() AND yumen_last_tenant()) IS NOT TRUE THEN
        RAISE EXCEPTION 'the transaction is not in the scope of tenant %', tenant;
    END IF;
    PERFORM pg_advisory_xact_lock(x'59754D656E'::bigint);
    FOR referred IN SELECT DISTINCT f.confrelid FROM pg_constraint f
        JOIN yumen_divided_tables d ON f.conrelid = d.id
        WHERE f.contype = 'f' AND f.conparentid = 0
            AND f.confrelid NOT IN (SELECT id FROM yumen_divided_tables)
        ORDER BY 1
    LOOP
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', referred);
    END LOOP;
    PERFORM FROM tenants WHERE id = tenant FOR UPDATE;
END $$;
CREATE FUNCTION yumen_fingerprint(rows_of regclass, tenant uuid, OUT count bigint, OUT sum numeric)
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format('SELECT count(*), sum(hashtextextended(to_jsonb(r)::text, 0)) FROM %s r
        WHERE tenant_id = $1', rows_of) USING tenant INTO count, sum;
END $$;
CREATE FUNCTION yumen_copy_rows(source regclass, target regclass, tenant uuid) RETURNS bigint
    LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    columns text := (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
        WHERE attrelid = source AND attnum > 0 AND NOT attisdropped AND attgenerated = '');
    before record;
BEGIN
    EXECUTE format('SELECT FROM %s WHERE tenant_id = $1 FOR UPDATE', source) USING tenant;
    before := yumen_fingerprint(source, tenant);
    EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %s WHERE tenant_id = $1',
        target, columns, columns, source) USING tenant;
    IF yumen_fingerprint(target, tenant) IS DISTINCT FROM before THEN
        RAISE EXCEPTION 'the rows of tenant % in % are not those in %', tenant, target, source;
    END IF;
    RETURN before.count;
END $$;
"""

# A divided table refers to those only that were divided before it, so the order of ids is that of
# references. Each loop is done with all tables before the next one: what is locked for oneself is
# so at the end, and rows never refer to what is not there.
ENTER_AND_LEAVE = """
CREATE FUNCTION yumen_enter_schema(tenant uuid) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    home text := yumen_tenant_schema(tenant);
    entering text[];
    divided record;
    moved bigint := 0;
BEGIN
    PERFORM yumen_lock_for_moving(tenant);
    IF to_regnamespace(home) IS NULL THEN
        EXECUTE format('CREATE SCHEMA %I', home);
    ELSIF (SELECT nspowner FROM pg_namespace WHERE nspname = home) <> current_user::regrole THEN
        RAISE EXCEPTION 'the schema % is another role''s', home;
    END IF;
    entering := (SELECT lacks FROM yumen_tenant_schemas WHERE name = home);
    FOR divided IN SELECT * FROM yumen_divided_tables WHERE name = ANY (entering) ORDER BY id LOOP
        PERFORM yumen_copy_table(divided.shared, home, '');
        moved := moved
            + yumen_copy_rows(divided.shared, format('%I.%I', home, divided.name), tenant);
    END LOOP;
    FOR divided IN
        SELECT * FROM yumen_divided_tables WHERE name = ANY (entering) ORDER BY id DESC
    LOOP
        EXECUTE format('DELETE FROM %s WHERE tenant_id = $1', divided.shared::regclass)
            USING tenant;
    END LOOP;
    FOR divided IN SELECT * FROM yumen_divided_tables WHERE name = ANY (entering) ORDER BY id LOOP
        -- Who has chosen a partition to read must not come to it when the rows have gone.
        EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', divided.id::regclass);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I.%I FOR VALUES IN (%L)',
            divided.id::regclass, home, divided.name, tenant);
    END LOOP;
    RETURN moved;
END $$;
CREATE FUNCTION yumen_leave_schema(tenant uuid) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    home text := yumen_tenant_schema(tenant);
    leaving text[];
    divided record;
    aside text;
    moved bigint := 0;
BEGIN
    PERFORM yumen_lock_for_moving(tenant);
    IF to_regnamespace(home) IS NULL THEN
        RETURN 0;
    END IF;
    leaving := array(SELECT d.name FROM yumen_divided_tables d JOIN pg_inherits i
        ON i.inhparent = d.id JOIN pg_class c ON c.oid = i.inhrelid
        WHERE c.relnamespace = to_regnamespace(home));
    -- A partition can be detached when no row refers to it: what was in it waits beside it.
    FOR divided IN SELECT * FROM yumen_divided_tables WHERE name = ANY (leaving) ORDER BY id LOOP
        aside := format('%I.%I', home, divided.name || ' aside');
        EXECUTE format('CREATE TABLE %s (LIKE %I.%I)', aside, home, divided.name);
        PERFORM yumen_copy_rows(format('%I.%I', home, divided.name), aside, tenant);
    END LOOP;
    FOR divided IN
        SELECT * FROM yumen_divided_tables WHERE name = ANY (leaving) ORDER BY id DESC
    LOOP
        EXECUTE format('DELETE FROM %I.%I', home, divided.name);
    END LOOP;
    FOR divided IN SELECT * FROM yumen_divided_tables WHERE name = ANY (leaving) ORDER BY id LOOP
        aside := format('%I.%I', home, divided.name || ' aside');
        EXECUTE format('ALTER TABLE %s DETACH PARTITION %I.%I',
            divided.id::regclass, home, divided.name);
        moved := moved + yumen_copy_rows(aside, divided.shared, tenant);
        EXECUTE format('DROP TABLE %s', aside);
    END LOOP;
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', home, 'left_' || txid_current());
    RETURN moved;
END $$;
-- By itself, because it needs the tables for itself that foreign keys refer to.
CREATE FUNCTION yumen_drop_left_schemas() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    left_one record;
    emptied regclass;
    dropped integer := 0;
BEGIN
    FOR left_one IN SELECT oid, nspname FROM pg_namespace
        WHERE nspname ~ '^left_[0-9]+$' AND nspowner = current_user::regrole
    LOOP
        FOR emptied IN SELECT oid FROM pg_class
            WHERE relnamespace = left_one.oid AND relkind = 'r' ORDER BY oid DESC
        LOOP
            EXECUTE format('DROP TABLE %s', emptied);
        END LOOP;
        EXECUTE format('DROP SCHEMA %I', left_one.nspname);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
REVOKE EXECUTE ON FUNCTION yumen_copy_table, yumen_divide_table, yumen_unite_table,
    yumen_lock_for_moving, yumen_fingerprint, yumen_copy_rows, yumen_enter_schema,
    yumen_leave_schema, yumen_drop_left_schemas FROM PUBLIC;
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for functions in (DIVIDED, COPY_TABLE, MOVING, ENTER_AND_LEAVE):
            op.get_bind().exec_driver_sql(functions.replace("%", "%%"))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "DROP FUNCTION yumen_drop_left_schemas, yumen_leave_schema, yumen_enter_schema,"
            " yumen_copy_rows, yumen_fingerprint, yumen_lock_for_moving, yumen_unite_table,"
            " yumen_divide_table, yumen_copy_table"
        )
        op.execute("DROP VIEW yumen_tenant_schemas, yumen_divided_tables")
        op.execute("DROP FUNCTION yumen_tenant_schema")
        op.execute("DROP SCHEMA shared")
