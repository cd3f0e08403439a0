"""Data whose examples are held one by one: what a user's files hold, divided into splits."""
