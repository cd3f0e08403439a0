"""The application that serves an index: routes, page and process."""
