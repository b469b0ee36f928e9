DROP
  DATABASE
  shop
;