-- How a gallery is encrypted (`gallery.encryption`): one row if it is, none if it is not. While there is one, no
-- unencrypted template can be written, whatever program tries. Only the owner can change it.
CREATE TABLE encryption (
    scheme text NOT NULL,
    salt text NOT NULL,
    key_id text NOT NULL,
    check_value text NOT NULL,
    -- 1 if names of people are encrypted too (`gallery.stored_names`)
    names integer NOT NULL DEFAULT 0
);
-- at most one row
CREATE UNIQUE INDEX one_encryption ON encryption ((true));

CREATE FUNCTION refuse_in_the_clear() RETURNS trigger LANGUAGE plpgsql SET search_path = facekd, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM encryption) AND octet_length(new.embedding) = 4 * (SELECT dim FROM contract) THEN
        RAISE EXCEPTION 'a template in the clear, in a gallery that is encrypted' USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END
$$;
CREATE TRIGGER no_template_in_the_clear BEFORE INSERT OR UPDATE OF embedding ON templates
    FOR EACH ROW EXECUTE FUNCTION refuse_in_the_clear();

-- By which an encrypted name is found; NULL if names are not encrypted.
ALTER TABLE people ADD COLUMN lookup text COLLATE "C";
CREATE UNIQUE INDEX people_by_lookup ON people (lookup) WHERE lookup IS NOT NULL;
ALTER TABLE people ALTER COLUMN lookup SET STATISTICS 0;

CREATE FUNCTION refuse_name_in_the_clear() RETURNS trigger LANGUAGE plpgsql SET search_path = facekd, pg_temp AS $$
BEGIN
    IF (new.lookup IS NULL OR new.name !~ '^[0-9A-Za-z+/=]{124,}$')
        AND EXISTS (SELECT FROM encryption WHERE names > 0)
    THEN
        RAISE EXCEPTION 'a name in the clear, in a gallery whose names are encrypted'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END
$$;
CREATE TRIGGER no_name_in_the_clear BEFORE INSERT OR UPDATE OF name, lookup ON people
    FOR EACH ROW EXECUTE FUNCTION refuse_name_in_the_clear();
