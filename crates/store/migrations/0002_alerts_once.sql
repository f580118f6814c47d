-- The identities of alerts that were deleted. Whoever sends such an alert once more, because the answer to
-- the first time was lost, must not bring it back.
CREATE TABLE deleted_alerts (
    uuid {key} NOT NULL PRIMARY KEY,
    alert {int} NOT NULL,
    deleted_ms {int} NOT NULL
);
CREATE INDEX deleted_alerts_deleted ON deleted_alerts (deleted_ms);
