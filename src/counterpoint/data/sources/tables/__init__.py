"""Tables with a row for each picture and caption, of whatever format."""
