DROP/* a */TABLE-- b
IF/**/EXISTS/* c */invoices/* d */