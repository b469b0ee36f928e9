drop
	view
	stats;