-- Custom SQL migration: keeps updated_at true. Dollar quotes, semicolons and comments on purpose.
CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $touch$
DECLARE
  note text := 'it''s; fine'; /* a ; in a comment */
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END;
$touch$;
--> statement-breakpoint
CREATE TRIGGER customers_touch BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
--> statement-breakpoint
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['products', 'orders', 'payments'] LOOP
    EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION touch_updated_at()', t || '_touch', t);
  END LOOP;
END $$;
