DROP SEQUENCE a, cascade
