"""People are in groups."""


def up(migrator, db):
    db.execute_sql("""ALTER TABLE "user" ADD COLUMN "groups" TEXT NOT NULL DEFAULT ''""")
