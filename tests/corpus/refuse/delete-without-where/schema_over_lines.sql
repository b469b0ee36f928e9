DELETE FROM
  "public" -- the usual
  .
  "users"