"""Who may do what with a request, a share, a recall or an alert, and what it then is: one table each."""
