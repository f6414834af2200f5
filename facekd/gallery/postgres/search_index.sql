-- How the gallery is searched, if not exactly, and what was measured of the index; created with the first index.
-- `engine` is one of `gallery.choosing`, `place` the server of the index if it is not this one.
CREATE TABLE IF NOT EXISTS search_index (
    engine text NOT NULL,
    place text NOT NULL,
    space text NOT NULL,
    built text NOT NULL,
    people bigint NOT NULL,
    probes bigint NOT NULL,
    recall_1 double precision NOT NULL,
    recall_5 double precision NOT NULL
);
-- at most one row
CREATE UNIQUE INDEX IF NOT EXISTS one_search_index ON search_index ((true));
