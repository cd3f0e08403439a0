"""The page's last part is about an assistant."""

model = of_words
