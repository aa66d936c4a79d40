"""The chat app: what is asked, answered, saved and found again."""
