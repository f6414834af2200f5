-- Roles of least privilege for a facekd gallery in this database. Run as a superuser, as often as you like:
--
--     facekd gallery roles | psql --single-transaction --set ON_ERROR_STOP=1 DATABASE
--
-- facekd_owner   creates and migrates the gallery, and finishes erasures
-- facekd_writer  enrolls, renames, merges and removes people
-- facekd_reader  verifies, identifies, lists, checks and exports
--
-- None of them can log in. Give each user one: GRANT facekd_writer TO ann;

DO $$
DECLARE
    owned record;
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['facekd_owner', 'facekd_writer', 'facekd_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), wanted);
    END LOOP;
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'facekd') THEN
        CREATE SCHEMA facekd;
    END IF;
    ALTER SCHEMA facekd OWNER TO facekd_owner;
    -- for a gallery that existed before the roles
    FOR owned IN
        SELECT format('ALTER TABLE facekd.%I OWNER TO facekd_owner', relname) AS statement FROM pg_class
            WHERE relnamespace = 'facekd'::regnamespace AND relkind = 'r'
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO facekd_owner', oid::regprocedure) FROM pg_proc
            WHERE pronamespace = 'facekd'::regnamespace
    LOOP
        EXECUTE owned.statement;
    END LOOP;
END
$$;
REVOKE ALL ON SCHEMA facekd FROM PUBLIC;
