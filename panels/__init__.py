"""Parts of the chat page, each with its components and what they do."""
