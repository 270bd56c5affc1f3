"""Models of the Hugging Face hub: their names, and how they come here."""
