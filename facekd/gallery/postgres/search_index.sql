-- By what the gallery is searched, where that is not the exact search, and what was measured of it; made with the
-- first index. `engine` is one of `gallery.choosing`, `place` where its server is if it is not this one.
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
-- a gallery is searched by one
CREATE UNIQUE INDEX IF NOT EXISTS one_search_index ON search_index ((true));
