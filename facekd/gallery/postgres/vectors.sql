-- The search index of pgvector: the direction of the mean of each person's templates. Everybody enrolled is
-- either in `vectors` or, until a writer has recomputed that direction, in `vectors_due`: triggers ensure it in
-- the transaction of every change, whatever program makes it. Run by the owner, in the schema "facekd".

CREATE TABLE vectors (
    person bigint PRIMARY KEY REFERENCES people (id) ON DELETE CASCADE,
    direction EXTENSION.vector(DIM) NOT NULL,
    filler bytea NOT NULL DEFAULT decode(repeat('00', current_setting('block_size')::integer / 4), 'hex')
) WITH (toast_tuple_target = 128, parallel_workers = 8);
-- The direction is stored out of line, so that a removal can rewrite the directions without their index (`erasing`).
-- PostgreSQL does that only for rows longer than a quarter of a page: the filler makes them that long when they are
-- written, and is then compressed to some 40 bytes. The table then looks small, and would be indexed by a single
-- process.
ALTER TABLE vectors ALTER COLUMN direction SET STORAGE EXTERNAL, ALTER COLUMN direction SET STATISTICS 0,
    ALTER COLUMN filler SET STORAGE MAIN;

CREATE TABLE vectors_due (
    person bigint PRIMARY KEY REFERENCES people (id) ON DELETE CASCADE
);

CREATE FUNCTION note_due() RETURNS trigger LANGUAGE plpgsql SET search_path = facekd, pg_temp AS $$
DECLARE
    changed bigint[] := ARRAY[old.person, new.person];
BEGIN
    DELETE FROM vectors WHERE person = ANY (changed);
    INSERT INTO vectors_due SELECT id FROM people WHERE id = ANY (changed) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_due AFTER INSERT OR DELETE ON templates FOR EACH ROW EXECUTE FUNCTION note_due();
CREATE TRIGGER note_due_changed AFTER UPDATE ON templates FOR EACH ROW
    WHEN ((old.person, old.embedding) IS DISTINCT FROM (new.person, new.embedding)) EXECUTE FUNCTION note_due();
