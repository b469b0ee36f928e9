ALTER ROLE agent U&"super\0075ser"
