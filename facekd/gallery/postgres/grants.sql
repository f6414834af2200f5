-- The rights of the roles of `facekd gallery roles`, if they exist; run after every migration, and after a
-- search index was made.

DO $$
BEGIN
    IF to_regclass('facekd.state') IS NULL THEN  -- nothing to grant yet
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'facekd_reader') THEN
        GRANT USAGE ON SCHEMA facekd TO facekd_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA facekd TO facekd_reader;
        GRANT SELECT ON ALL SEQUENCES IN SCHEMA facekd TO facekd_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'facekd_writer') THEN
        GRANT USAGE ON SCHEMA facekd TO facekd_writer;
        GRANT SELECT ON ALL TABLES IN SCHEMA facekd TO facekd_writer;
        GRANT SELECT ON ALL SEQUENCES IN SCHEMA facekd TO facekd_writer;
        GRANT INSERT, UPDATE, DELETE
            ON facekd.people, facekd.templates, facekd.removed_people, facekd.removed_photos
            TO facekd_writer;
        GRANT INSERT, DELETE ON facekd.audit, facekd.erasures TO facekd_writer;
        IF to_regclass('facekd.audit_reads') IS NOT NULL THEN  -- not in a gallery of an older schema
            GRANT INSERT, DELETE ON facekd.audit_reads TO facekd_writer;
        END IF;
        IF to_regclass('facekd.vectors') IS NOT NULL THEN  -- if the gallery is searched by pgvector
            GRANT INSERT, UPDATE, DELETE ON facekd.vectors, facekd.vectors_due TO facekd_writer;
        END IF;
        IF to_regclass('facekd.outside_index') IS NOT NULL THEN  -- if it is searched by another server
            GRANT INSERT, DELETE ON facekd.outside_due TO facekd_writer;
            GRANT UPDATE ON facekd.outside_index TO facekd_writer;
        END IF;
        GRANT UPDATE ON facekd.state TO facekd_writer;
        -- before version 17 only the owner may VACUUM, and erasures owed by writers wait for the owner
        IF current_setting('server_version_num')::integer >= 170000 THEN
            EXECUTE 'GRANT MAINTAIN ON facekd.people, facekd.templates, facekd.removed_people, '
                'facekd.removed_photos TO facekd_writer';
            IF to_regclass('facekd.vectors') IS NOT NULL THEN
                EXECUTE 'GRANT MAINTAIN ON facekd.vectors TO facekd_writer';
            END IF;
        END IF;
    END IF;
END
$$;
