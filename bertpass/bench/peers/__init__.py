"""What people choose from today for vectors of texts, each in a process of its own: texts in, vectors out."""
