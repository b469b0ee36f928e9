DELETE FROM users -- x
;