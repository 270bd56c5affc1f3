"""What routes do: a body is checked, and comes back as work for the thread of its request."""
