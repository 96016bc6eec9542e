"""Statistics and quantities as plain numbers; nothing here reads a record."""
