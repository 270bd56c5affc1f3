"""HTTP: the application, and what every request passes."""
