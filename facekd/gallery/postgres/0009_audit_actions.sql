-- Encryption at rest is of files (`gallery.encryption`); what was done to one before it was copied here is in
-- its audit.
INSERT INTO audit_actions (action) VALUES ('encrypt'), ('rotate_key'), ('decrypt');
