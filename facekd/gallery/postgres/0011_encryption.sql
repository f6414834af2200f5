-- How a gallery is encrypted (`gallery.encryption`): one row where it is, none where it is not. As long as there
-- is one, no template in the clear gets into the tables, whichever program writes it. Only the owner changes it.
CREATE TABLE encryption (
    scheme text NOT NULL,
    salt text NOT NULL,
    key_id text NOT NULL,
    check_value text NOT NULL
);
-- a gallery is encrypted in one way
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
