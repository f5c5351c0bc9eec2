"""Equal events are one row an hour with a count."""


def up(migrator, db):
    db.execute_sql('ALTER TABLE "event" ADD COLUMN "count" INTEGER NOT NULL DEFAULT 1')
    db.execute_sql('ALTER TABLE "event" ADD COLUMN "hour_key" VARCHAR(64)')
    db.execute_sql('CREATE UNIQUE INDEX "event_hour_key" ON "event" ("hour_key")')
