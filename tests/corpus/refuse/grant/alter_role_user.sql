ALTER ROLE admin USER agent
