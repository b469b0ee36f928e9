DROP -- the old one
	TABLE
 users