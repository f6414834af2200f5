-- A search index on another server (`gallery.milvus`): where it is, the state up to which it was updated, and the
-- people whose entry is outdated. The triggers record these in the transaction of the change, whatever program
-- makes it. Run by the owner, in the schema "facekd", before the index is built.

CREATE TABLE outside_index (
    place text NOT NULL,
    state text NOT NULL
);
CREATE UNIQUE INDEX one_outside_index ON outside_index ((true));

CREATE TABLE outside_due (
    uid text PRIMARY KEY
);

CREATE FUNCTION note_outside() RETURNS trigger LANGUAGE plpgsql SET search_path = facekd, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'people' THEN
        INSERT INTO outside_due VALUES (old.uid) ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO outside_due SELECT uid FROM people WHERE id IN (old.person, new.person) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER note_outside_person AFTER DELETE ON people FOR EACH ROW EXECUTE FUNCTION note_outside();
CREATE TRIGGER note_outside AFTER INSERT OR DELETE ON templates FOR EACH ROW EXECUTE FUNCTION note_outside();
CREATE TRIGGER note_outside_changed AFTER UPDATE ON templates FOR EACH ROW
    WHEN ((old.person, old.embedding) IS DISTINCT FROM (new.person, new.embedding)) EXECUTE FUNCTION note_outside();
