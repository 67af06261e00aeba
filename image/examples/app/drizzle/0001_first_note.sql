INSERT INTO "notes" ("title") VALUES ('The schema came first.');
