"""HTTP: the application, what every request passes, and the routes of each API."""
