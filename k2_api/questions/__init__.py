"""What a request may say: parameters, instants, cursors."""
