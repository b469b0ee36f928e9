CREATE OR REPLACE FUNCTION note_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $fn$
BEGIN
  IF TG_OP = 'DELETE' THEN
    INSERT INTO changes (what, who) VALUES ('deleted', current_user);
    RETURN OLD;
  END IF;
  DELETE FROM pending WHERE id = NEW.id;
  RETURN NEW;
END;
$fn$;
DROP TRIGGER IF EXISTS note_change ON accounts;
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION note_change();
