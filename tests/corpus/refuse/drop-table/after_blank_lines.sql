

	  DROP TABLE invoices